"""One training from events to published models: what `tidings train` does, step by step.

Memory is bounded at each step: events go to disk, the newest three million clicks are replayed, and
as many lists are kept as fit into 300 MB. Rejected: a training that learns on where the last one
ended; a mistake of one night would stay for ever.

    for report in run(settings, Wanted(), folder, Path("scratch"), Progress(print)):
        report.name, report.why_not
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.recommender.evaluation.log import EmptyLogError, Log
from services.recommender.evaluation.replay import sample_clicks
from services.recommender.evaluation.serving import Serving
from services.recommender.features import FEATURES
from services.recommender.models.files import BLEND, About, BadModelError, Kind, ModelFolder
from services.recommender.models.loading import neighbours_of, ranker_of
from services.recommender.models.neighbours import BadNeighboursError, Neighbours
from services.recommender.models.trees import BadTreesError
from services.recommender.rank.blend import PLAIN, Blend
from services.recommender.rank.ranker import Ranker
from services.recommender.training.deciding import NEW, why_not
from services.recommender.training.events import Events, Readings
from services.recommender.training.gathering import gather, make_training_log
from services.recommender.training.judging import (
    judge_neighbours,
    judge_popular,
    leave_last_out,
)
from services.recommender.training.measured import Progress
from services.recommender.training.neighbouring import (
    KEPT,
    LEAST_READERS,
    MOST_ARTICLES,
    RIDGE,
    learn,
)
from services.recommender.training.ranking import (
    LEAST_LISTS,
    TooLittleError,
    about,
    compare,
    program_versions,
    train,
)
from services.recommender.training.samples import collect
from services.recommender.training.wanted import Wanted
from tidings.process.settings import Settings

LISTS = 24_000
HELD_LISTS = 10_000
# Of the time that lists are from, what they are judged on: the last part.
HELD_SHARE = 0.25
# Readers who wanted so many articles can be asked for the last one of them.
LEAST_READINGS = 5
LEAST_ASKED = 200
MOST_ASKED = 5_000


class Span(NamedTuple):
    """The moments that lists are from, ms since the epoch: to learn from, then to be judged on."""

    since_ms: int
    held_ms: int
    until_ms: int


class Report(NamedTuple):
    """A model that was published.

    Attributes:
        name: of the model.
        why_not: why it does not serve; empty where it does from now on.
        figures: side → figure → value, of the new one and of those it was compared with.
    """

    name: str
    why_not: str
    figures: Mapping[str, Mapping[str, float]]


def run(
    settings: Settings, wanted: Wanted, folder: ModelFolder, scratch: Path, progress: Progress
) -> Iterator[Report | TooLittleError]:
    """Train each kind that is wanted: what was published, or why nothing was.

    Raises:
        CannotStartError: the events cannot be read.
    """
    with Events(scratch) as events:
        view = gather(settings, wanted, events, progress, scratch)
        for kind in wanted.kinds:
            try:
                if kind is Kind.RANKER:
                    log = make_training_log(events, view)
                    span = make_span(log, wanted)
                    yield train_ranker(folder, log, span, progress, seed=wanted.seed)
                else:
                    readings = events.readings(
                        most_articles=MOST_ARTICLES, least_readers=LEAST_READERS
                    )
                    yield train_neighbours(folder, readings, progress)
            except EmptyLogError:
                yield TooLittleError("no reader has clicked an article that is published")
            except TooLittleError as ex:
                yield ex


def make_span(log: Log, wanted: Wanted) -> Span:
    """The moments that are wanted. By default lists are from the second half of the log's time, or
    from its last week: what was before only warms the signals up."""
    first, last = int(log.at_ms[0]), int(log.at_ms[-1]) + 1
    since = wanted.since_ms
    if since is None:
        since = max((first + last) // 2, last - 7 * 24 * 3600 * 1000)
    held = wanted.held_ms
    if held is None:
        held = round(last - (last - since) * HELD_SHARE)
    return Span(since, held, last)


def train_ranker(
    folder: ModelFolder, log: Log, span: Span, progress: Progress, *, seed: int, most: int = 0
) -> Report:
    """Train a ranker, judge it beside the one in use, publish it, and use it if it is not worse.

    Args:
        most: learn from so many lists at most; 0 for `LISTS`.

    Raises:
        TooLittleError: there are too few clicks to learn from.
    """
    taught = sample_clicks(
        log, since_ms=span.since_ms, until_ms=span.held_ms, most=most or LISTS, seed=seed
    )
    held = sample_clicks(
        log, since_ms=span.held_ms, until_ms=span.until_ms, most=HELD_LISTS, seed=seed
    )
    if len(taught) < LEAST_LISTS or not len(held):
        raise TooLittleError(
            f"{len(taught)} clicks that follow another one in their session, and {LEAST_LISTS} are "
            "needed to learn from"
        )
    serving = Serving(log)
    clicks = np.concatenate([taught, held])
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress.say_now_and_then(f"{done} of {len(clicks)} lists of candidates")

    lists = collect(
        log,
        clicks,
        serving.chooser,
        question_of=serving.question,
        learn=serving.learn,
        on_list=count,
    )
    progress.say(f"{len(clicks)} lists of candidates, {len(held)} of them held out")
    trained = train(lists.part(0, len(taught)), seed=seed)
    progress.say(f"trees grown on {trained.lists} lists and {len(trained.features)} features")
    others: dict[str, Ranker] = {BLEND: Blend()}
    if in_use := read_ranker_in_use(folder):
        others["serving"] = in_use
    compared = compare(trained.ranker, others, lists.part(len(taught), len(lists)))
    window = {**span._asdict(), "clicks": len(log), "lists": len(taught), "held": len(held)}
    name = folder.publish(about(trained, compared, window, seed), trained.arrays)
    if not compared.why_not:
        folder.use(Kind.RANKER, name)
    return Report(name, compared.why_not, compared.figures)


def read_ranker_in_use(folder: ModelFolder) -> Ranker | None:
    """The learned ranker that serves now; None where the hand blend does."""
    name = folder.pointer(Kind.RANKER).name
    try:
        return None if name == BLEND else ranker_of(folder.read(name, Kind.RANKER), FEATURES, PLAIN)
    except (BadModelError, BadTreesError):
        return None


def train_neighbours(folder: ModelFolder, readings: Readings, progress: Progress) -> Report:
    """Learn which articles go with which, judge that on the last reading of each reader beside the
    model in use and what is popular, publish it, and use it if it is not worse.

    What is published has learned from the last readings too: those judged were left out once.

    Raises:
        TooLittleError: too few readers have read enough.
    """
    kept, asked = leave_last_out(readings.readers, readings.articles, least=LEAST_READINGS)
    if len(asked) < LEAST_ASKED:
        raise TooLittleError(
            f"{len(asked)} readers have read {LEAST_READINGS} articles or more, and {LEAST_ASKED} "
            "are needed to learn what goes with what"
        )
    asked = asked[:: -(-len(asked) // MOST_ASKED)]
    left = readings.articles[kept]
    new = Neighbours(*learn(readings.readers[kept], left))
    judged = {NEW: judge_neighbours(new, asked), "popular": judge_popular(left, asked)}
    del new
    if serving := read_neighbours_in_use(folder):
        judged["serving"] = judge_neighbours(serving, asked)
    progress.say(f"neighbours judged by {len(asked)} readers")
    learnt = learn(readings.readers, readings.articles)
    reason = why_not(judged)
    name = folder.publish(
        About(
            Kind.NEIGHBOURS,
            figures=judged[NEW].figures,
            window={"readings": len(readings.readers), "asked": len(asked)},
            versions=program_versions(("tidings", "numpy", "scipy")),
            settings={"ridge": RIDGE, "kept": KEPT, "articles": len(learnt.ids)},
        ),
        learnt._asdict(),
    )
    if not reason:
        folder.use(Kind.NEIGHBOURS, name)
    return Report(name, reason, {side: one.figures for side, one in judged.items()})


def read_neighbours_in_use(folder: ModelFolder) -> Neighbours | None:
    """The neighbours that serve now, if any do."""
    name = folder.pointer(Kind.NEIGHBOURS).name
    try:
        return None if name == BLEND else neighbours_of(folder.read(name, Kind.NEIGHBOURS))
    except (BadModelError, BadNeighboursError):
        return None
