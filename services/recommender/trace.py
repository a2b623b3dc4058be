"""What happened to each article on its way through one feed, for those who ask why.

Filled only where one is handed in; a feed that is served hands in none. Rejected: a log line for
each step, which says the same of a million feeds that no operator asked about.

    trace = Trace()
    chooser.choose(question, trace)
    trace.dropped[12]  # "seen"
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.recommender.candidates import Candidates, Proposed, Source
from services.recommender.catalogue import NO_ROW, View


@dataclass(slots=True)
class Trace:
    """One feed's story.

    Attributes:
        proposed: source's name → article → what the source thinks of it.
        dropped: article → why it fell out: a reason of the filter, `cut` or `mix`.
        ranked: what was ranked, with features and scores, best first; None if nothing was.
        steps_ms: how long each step took.
        model: name of the ranker.
    """

    proposed: dict[str, dict[int, float]] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    ranked: Candidates | None = None
    steps_ms: dict[str, float] = field(default_factory=dict)
    model: str = ""

    def note_proposed(self, source: Source, proposed: Proposed, view: View) -> None:
        """A source has proposed these."""
        known = proposed.rows != NO_ROW
        ids = view.ids[proposed.rows[known]].tolist()
        strengths = proposed.strengths[known].tolist()
        self.proposed[source.name] = dict(zip(ids, strengths, strict=True))

    def note_dropped(self, before: Candidates, after: Candidates, reason: str) -> None:
        """A step left some of these out."""
        for article_id in np.setdiff1d(before.ids, after.ids).tolist():
            self.dropped[article_id] = reason
