"""What an operator wants to be trained. Apart from what trains, since it must be known where the
extra `[train]` is not installed.

    Wanted(kinds=(Kind.RANKER,), file="clicks.csv.gz", seed=1)
"""

from __future__ import annotations

from dataclasses import dataclass

from services.recommender.models.files import Kind

DAYS = 14


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to learn from, and which models.

    Attributes:
        file: of events; None for the site's own.
        days: so many of the site's own events.
        since_ms: learn from clicks from here on; None for a default.
        held_ms: be judged on clicks from here on; None for a default.
        until_ms: leave out all from here on; None for nothing.
        seed: of samples and trees.
    """

    kinds: tuple[Kind, ...] = tuple(Kind)
    file: str | None = None
    days: int = DAYS
    since_ms: int | None = None
    held_ms: int | None = None
    until_ms: int | None = None
    seed: int = 1
