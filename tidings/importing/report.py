"""What an import has done so far: the counts that its summary, its checkpoint and its exit code are
made of.

    str(Counts(created=2))  # "2 rows: 2 new, 0 changed, 0 unchanged, 0 rejected"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tidings.importing.rows import Reject

SHOWN_REJECTS = 5


class Counts(msgspec.Struct):
    """Rows by what became of them; each row is in exactly one count.

    Attributes:
        created: articles that were not there before.
        updated: articles that were there and differed.
        unchanged: articles that were there already, just so.
        duplicates: rows whose article a later row of the same source describes again. The last one
            stands.
        gone: articles that an editor has deleted; they stay away.
        unknown: events of articles that are not there; not imported either.
        rejected: rows that were not imported.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    gone: int = 0
    unknown: int = 0
    rejected: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        taken = self.created + self.updated + self.unchanged + self.duplicates
        return taken + self.gone + self.unknown + self.rejected

    def __str__(self) -> str:
        repeated = f"{self.duplicates} repeated, " if self.duplicates else ""
        repeated += f"{self.gone} deleted by an editor, " if self.gone else ""
        repeated += f"{self.unknown} of unknown articles, " if self.unknown else ""
        return (
            f"{self.rows} rows: {self.created} new, {self.updated} changed, {self.unchanged} "
            "unchanged, "
            f"{repeated}{self.rejected} rejected"
        )


@dataclass(slots=True)
class Report:
    """How an import went, or goes.

    Attributes:
        counts: of the whole source, including what an earlier run had done.
        resumed_rows: how many rows an earlier, interrupted run had done.
        first_rejects: the first few rejects of this run, to show.
        rejects_path: where all rejects are; None if there are none, or the caller keeps none.
    """

    counts: Counts = field(default_factory=Counts)
    resumed_rows: int = 0
    first_rejects: list[Reject] = field(default_factory=list)
    rejects_path: Path | None = None

    def add_reject(self, reject: Reject) -> None:
        """Count a row that was refused."""
        self.counts.rejected += 1
        if len(self.first_rejects) < SHOWN_REJECTS:
            self.first_rejects.append(reject)
