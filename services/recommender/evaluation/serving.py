"""The recommender as a contender: what serves, signals and all, told of the log as it happens.

The chooser is put together by `parts` as a worker's is; only the clock, the catalogue and the
reader's state come from the log. A reader's own clicks come with the question, as they do in
serving, however late the signals are that all readers share. Rejected: a second chooser for
experiments.

    serving = Serving(log)
    for asked in replay(log, clicks, serving.learn):
        serving.answer(asked).ranked
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import cast

from services.recommender.catalogue import View
from services.recommender.choosing import Chooser
from services.recommender.evaluation.baselines import Answer
from services.recommender.evaluation.log import Log
from services.recommender.evaluation.measures import AT, DEPTH
from services.recommender.evaluation.replay import Asked
from services.recommender.parts import make_chooser
from services.recommender.question import Question
from services.recommender.signals.folding import Click, Signals
from tidings.news.channels import FOR_YOU
from tidings.reading.acts import Action
from tidings.reading.contexts import Context, Device, Referrer
from tidings.reading.reader_state import Acted, ReaderState

# As many acts of a reader as serving keeps.
ACTS = 128

MakeChooser = Callable[[Signals, Callable[[], View]], Chooser]


class Serving:
    """What readers would have been served.

    Args:
        log: what happened.
        name: in tables.
        make: puts the chooser together.
        beside: another one of the same log, whose signals this one looks at; that one is told of
            the log, and this one is not.
    """

    def __init__(
        self,
        log: Log,
        *,
        name: str = "recommender",
        make: MakeChooser = make_chooser,
        beside: Serving | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._signals: Signals = beside._signals if beside else Signals()
        self.chooser = make(self._signals, lambda: log.view)
        self._articles = log.view.ids[log.rows]
        self._contexts = log.devices << 4 | log.referrers

    def learn(self, start: int, stop: int) -> None:
        """Fold these clicks of the log, as a worker folds what others reported."""
        some = slice(start, stop)
        seconds = self._log.at_ms[some] // 1000
        clicks = map(
            Click,
            self._log.readers[some].tolist(),
            self._articles[some].tolist(),
            seconds.tolist(),
            self._contexts[some].tolist(),
            [False] * (stop - start),
        )
        self._signals.fold(clicks, now_s=float(seconds[-1]))

    def question(self, asked: Asked) -> Question:
        """What serving would know at this moment."""
        earlier = asked.earlier
        acts = earlier[-ACTS:]
        state = ReaderState(
            acts=[
                Acted(Action.CLICK, article_id, stamp_ms=at_ms, at_ms=at_ms)
                for article_id, at_ms in zip(
                    self._articles[acts].tolist(), self._log.at_ms[acts].tolist(), strict=True
                )
            ],
            older=array("q", self._articles[earlier[:-ACTS]].tolist()),
        )
        # A foreign log's codes may be none of ours; serving only compares them with each other.
        context = Context(
            cast(Device, int(self._log.devices[asked.click])),
            cast(Referrer, int(self._log.referrers[asked.click])),
        )
        return Question(
            reader_id=int(self._log.readers[asked.click]),
            channel_id=FOR_YOU.channel_id,
            wanted=AT,
            now_ms=asked.now_ms,
            reader=state,
            context=context,
        )

    def source_names(self) -> dict[int, str]:
        """By number."""
        return {number: source.name for number, source in self.chooser.by_number.items()}

    def answer(self, asked: Asked) -> Answer:
        chosen = self.chooser.choose(self.question(asked))
        rows_of = self._log.view.rows_of
        return Answer(rows_of(chosen.ranked_ids[:DEPTH]), rows_of(chosen.ids), chosen.sources)
