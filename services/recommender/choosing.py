"""Chooses the articles of one fresh batch: `recall → filter → cut → rank → mix`.

What a feed depends on comes with the question, the clock too; what is shared (signals, catalogue)
is only read. So `tidings evaluate`, training and `explain` call this very thing, and judge what
readers see. One lock, the signals', is held round the arithmetic, since numpy on two threads of one
process is slower than on one; it is never held round Redis or SQL. Rejected: a pipeline for
experiments beside the one that serves.

    chosen = chooser.choose(question)
    chosen.ids, chosen.reasons
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram

from services.recommender.candidates import Candidates, Proposed, Recall, Source, join
from services.recommender.catalogue import View
from services.recommender.cut import RANKED, cut
from services.recommender.features import TasteColumns, make_features
from services.recommender.filter import Verdict, count_dropped, judge
from services.recommender.question import Question
from services.recommender.rank.ranker import Ranking
from services.recommender.signals.folding import Signals
from services.recommender.sources.again import AGAIN, recall_again
from services.recommender.sources.backlog import BACKLOG, recall_backlog
from services.recommender.sources.table import check_sources
from services.recommender.trace import Trace
from services.recommender.walks import Walks

STEP_SECONDS = Histogram(
    "tidings_pipeline_step_seconds",
    "Time of one step of one feed",
    ["step"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5),
)
PROPOSED = Counter("tidings_candidates_proposed_total", "Candidates by source", ["source"])
# PERF: `labels` takes a lock and three microseconds, twenty times a feed.
_step_seconds = cache(STEP_SECONDS.labels)
_proposed = cache(PROPOSED.labels)


class Step:
    """Times a step of a feed, for the metrics and for the trace if there is one.

    A class, since a generator's context takes three times as long, seven times a feed.
    """

    __slots__ = ("_name", "_started_s", "_trace")

    def __init__(self, name: str, trace: Trace | None = None) -> None:
        self._name = name
        self._trace = trace

    def __enter__(self) -> None:
        self._started_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took_s = time.perf_counter() - self._started_s
        _step_seconds(self._name).observe(took_s)
        if self._trace is not None:
            self._trace.steps_ms[self._name] = took_s * 1000


# Which candidates to show, in order: indices into candidates that have scores.
Mix = Callable[[Candidates, View, Question], NDArray[np.intp]]


class Reason(NamedTuple):
    """Why an article was chosen: the name of its source, and the read article that led to it, 0 if
    none did."""

    kind: str
    article_id: int


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A batch, not yet recorded.

    Attributes:
        ids: in the order to show them, int64.
        sources: number of the source of each, uint8.
        reasons: of each.
        variant: of the ranker that this reader gets.
        ranked_ids: all that was ranked, best first, before they were mixed; int64.
    """

    ids: NDArray[np.int64]
    sources: NDArray[np.uint8]
    reasons: Sequence[Reason]
    variant: int
    ranked_ids: NDArray[np.int64]


class Chooser:
    """Makes batches from any number of threads.

    Args:
        signals: what all readers did; its lock is taken here.
        walks: shared with the sources that propose from the reader's own clicks.
        sources: where candidates come from, in the order of `make_sources`.
        look: the catalogue as it is now.

    Raises:
        ValueError: two sources could be taken for one.
    """

    def __init__(
        self,
        signals: Signals,
        walks: Walks,
        sources: Sequence[Recall],
        *,
        ranking: Ranking,
        taste: TasteColumns,
        mix: Mix,
        look: Callable[[], View],
    ) -> None:
        self._signals = signals
        self._walks = walks
        self._sources = tuple(sources)
        self.by_number = check_sources([recall.source for recall in sources])
        self._reserved = {
            source.number: source.reserved for source in self.by_number.values() if source.reserved
        }
        self._ranking = ranking
        self._taste = taste
        self._mix = mix
        self._look = look

    def source(self, number: int) -> Source:
        """The source of a number that tokens carry.

        Raises:
            KeyError: there is none.
        """
        return self.by_number[number]

    def propose(self, question: Question, kind: str) -> Candidates:
        """What one source proposes for this question and may be shown, its strongest first; nothing
        from a source that this version does not have."""
        view = self._look()
        with self._signals.lock:
            proposals = [
                (recall.source, recall(question, view))
                for recall in self._sources
                if recall.source.name == kind
            ]
            proposed = join(proposals, view)
        fit = proposed.take(judge(proposed.rows, question, view) == Verdict.FIT)
        return fit.take(np.argsort(-fit.strengths, kind="stable"))

    def choose(self, question: Question, trace: Trace | None = None) -> Chosen:
        """A batch for this question; shorter than wanted only if the channel has no more."""
        view = self._look()
        with self._signals.lock:
            ranked, variant = self._rank(question, view, trace)
            with Step("mix", trace):
                order = self._mix(ranked, view, question)
            batch = self._fill_up(ranked.take(order), question, view)
        if trace is not None:
            trace.ranked = ranked
            trace.note_dropped(ranked, batch, "mix")
        return Chosen(
            ids=batch.ids,
            sources=batch.sources,
            reasons=[
                Reason(self.by_number[number].name, because)
                for number, because in zip(
                    batch.sources.tolist(), batch.because.tolist(), strict=True
                )
            ],
            variant=variant,
            ranked_ids=ranked.ids,
        )

    def _rank(self, question: Question, view: View, trace: Trace | None) -> tuple[Candidates, int]:
        """What is worth ranking, best first, and the variant of the ranker."""
        with Step("recall", trace):
            proposals = [(recall.source, recall(question, view)) for recall in self._sources]
            proposed = join(proposals, view)
        with Step("filter", trace):
            verdicts = judge(proposed.rows, question, view)
            fit = proposed.take(verdicts == Verdict.FIT)
        with Step("cut", trace):
            walked = self._walks.of(question)
            few = cut(fit, walked, self._signals, most=RANKED, reserved=self._reserved)
        with Step("rank", trace):
            few.features = make_features(
                few,
                walked.walk,
                self._signals,
                question=question,
                view=view,
                taste=self._taste,
            )
            variant, ranker = self._ranking.of(question.reader_id)
            few.scores = ranker.score(few.features)
            # Ties go to the newer article, then to the higher id: the same candidates always come
            # out in the same order.
            order = np.lexsort((few.ids, view.published[few.rows], few.scores))[::-1]
            ranked = few.take(order)
        _count(proposals, verdicts)
        if trace is not None:
            trace.model = ranker.name
            for source, some in proposals:
                trace.note_proposed(source, some, view)
            for article_id, verdict in zip(proposed.ids.tolist(), verdicts.tolist(), strict=True):
                if verdict != Verdict.FIT:
                    trace.dropped[article_id] = Verdict(verdict).name.lower()
            trace.note_dropped(fit, few, "cut")
        return ranked, variant

    def _fill_up(self, batch: Candidates, question: Question, view: View) -> Candidates:
        """The batch with what of the backlog, and then of what was seen, it still has room for."""
        for source, recall in ((BACKLOG, recall_backlog), (AGAIN, recall_again)):
            missing = question.wanted - len(batch)
            if missing > 0:
                more = recall(question, view, taken=np.sort(batch.ids), number=missing)
                _proposed(source.name).inc(len(more.rows))
                batch = batch.followed_by(_in_order(source, more, view))
        return batch


def _in_order(source: Source, proposed: Proposed, view: View) -> Candidates:
    """Those candidates, unranked, in the order of the source."""
    some = join([(source, proposed)], view)
    return some.take(np.argsort(-some.strengths, kind="stable"))


def _count(proposals: Sequence[tuple[Source, Proposed]], verdicts: NDArray[np.uint8]) -> None:
    for source, proposed in proposals:
        if len(proposed.rows):
            _proposed(source.name).inc(len(proposed.rows))
    count_dropped(verdicts)
