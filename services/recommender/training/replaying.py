"""The recommender as a replayed log meets it: signals that learn from the log, and questions as the
log's readers would have asked them.

    served = Replayed(log)
    collect(log, clicks, served.chooser, question_of=served.question_of, learn=served.learn)
"""

from __future__ import annotations

from services.recommender.evaluation.log import Log
from services.recommender.evaluation.replay import Asked
from services.recommender.parts import make_chooser
from services.recommender.question import Question
from services.recommender.signals.folding import Click, Signals
from tidings.news.channels import FOR_YOU
from tidings.reading.acts import Action
from tidings.reading.contexts import Context, Device, Referrer
from tidings.reading.reader_state import Acted, ReaderState

WANTED = 10
# As many as a reader's record keeps.
LATEST_ACTS = 128


class Replayed:
    """A chooser over a log's catalogue, and how the log tells it what happened."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ids = log.view.ids
        self._signals = Signals()
        self.chooser = make_chooser(self._signals, lambda: log.view)

    def learn(self, start: int, stop: int) -> None:
        """Take in the clicks `start` to `stop` of the log."""
        log = self._log
        columns = zip(
            log.readers[start:stop].tolist(),
            self._ids[log.rows[start:stop]].tolist(),
            (log.at_ms[start:stop] // 1000).tolist(),
            log.devices[start:stop].tolist(),
            log.referrers[start:stop].tolist(),
            strict=True,
        )
        clicks = [
            Click(reader, article, at_s, context_of_codes(device, referrer).code, undone=False)
            for reader, article, at_s, device, referrer in columns
        ]
        self._signals.fold(clicks, clicks[-1].at_s)

    def question_of(self, asked: Asked) -> Question:
        """What the reader asks just before the click that is to be guessed."""
        log = self._log
        latest = asked.earlier[-LATEST_ACTS:]
        acts = [
            Acted(Action.CLICK, article, 0, at_ms)
            for article, at_ms in zip(
                self._ids[log.rows[latest]].tolist(), log.at_ms[latest].tolist(), strict=True
            )
        ]
        return Question(
            int(log.readers[asked.click]),
            FOR_YOU.channel_id,
            WANTED,
            now_ms=asked.now_ms,
            reader=ReaderState(acts=acts),
            context=context_of_codes(
                int(log.devices[asked.click]), int(log.referrers[asked.click])
            ),
        )


def context_of_codes(device: int, referrer: int) -> Context:
    """The context of a log's codes; a code that is none of ours is some other device or place."""
    return Context(
        Device(device) if device <= Device.OTHER else Device.OTHER,
        Referrer(referrer) if referrer <= Referrer.OTHER else Referrer.OTHER,
    )
