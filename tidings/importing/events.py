"""Takes a file of events into the site: what readers did elsewhere, or before.

Blocks of lines become events, and events are stored a thousand to a transaction, so that memory
holds one block and the writer's lock is held for tenths of a second. The same file twice changes
nothing; a run that was stopped continues behind the last line whose events are committed. Rejected:
one transaction for the file, which a log of millions would hold for an hour.

    report = import_events("clicks.csv", engine, folder=Path("var/import"))
    report.counts.created, report.counts.rejected
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.decoding import lines_in_utf8
from tidings.importing.event_rows import EventBlock, EventsHeaderError, read_events
from tidings.importing.inputs import UNREADABLE, InputError, open_input
from tidings.importing.report import Report
from tidings.importing.workspace import Workspace, open_workspace
from tidings.process.clock import Clock, now_ms
from tidings.reading.acts import Action
from tidings.reading.past import Past, is_there, store_past, witness_of
from tidings.store.transacting import transact

BATCH_EVENTS = 1000

OnProgress = Callable[[Report, float], None]


def import_events(
    source: str,
    engine: Engine,
    *,
    folder: Path,
    restart: bool = False,
    rules: FetchRules = PUBLIC_ONLY,
    clock: Clock = now_ms,
    on_progress: OnProgress = lambda report, fraction: None,
) -> Report:
    """Import a CSV file, an http(s) address, or `-` for standard input.

    Args:
        source: what to import.
        engine: the database.
        folder: where rejects and checkpoints are kept; made if it is not there.
        restart: begin at the first line even if an earlier run was interrupted.
        rules: which machines may be asked.
        clock: now in ms since the epoch; what happened later is refused.
        on_progress: called after each commit with the report so far and the fraction of the source
            that was read.

    Raises:
        InputError: it cannot be read, or is no file of events.
        OSError: nothing can be written in `folder`.
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands, and another run
            continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        open_input(source, folder, rules) as opened,
        open_workspace(folder, opened.name) as workspace,
    ):
        load = _Loader(
            engine,
            workspace,
            of=f"{opened.fingerprint} events {engine.url.render_as_string()}",
            on_batch=lambda report: on_progress(report, opened.fraction_read()),
        )
        load.begin(restart=restart)
        try:
            for block in read_events(lines_in_utf8(opened.stream), until_ms=clock()):
                load.take(block)
        except (EventsHeaderError, *UNREADABLE) as ex:
            raise InputError(f"{source}: {ex}") from None
        workspace.finish()
        report = load.report
        report.rejects_path = workspace.rejects_path if report.counts.rejected else None
        return report


class _Loader:
    """The state of one import between batches."""

    def __init__(
        self,
        engine: Engine,
        workspace: Workspace,
        *,
        of: str,
        on_batch: Callable[[Report], None],
    ) -> None:
        self.report = Report()
        self._engine = engine
        self._workspace = workspace
        self._of = of
        self._on_batch = on_batch
        self._lines = 0

    def begin(self, *, restart: bool) -> None:
        """Go on behind what an earlier run committed, if that is still there."""
        checkpoint = None if restart else self._workspace.read_checkpoint(self._of)
        if checkpoint is not None:
            with self._engine.connect() as conn:
                if not is_there(conn, checkpoint.witness):
                    checkpoint = None
        if checkpoint is None:
            self._workspace.begin()
            return
        self._workspace.begin(checkpoint.rejects_bytes)
        self._lines = checkpoint.lines
        self.report = Report(checkpoint.counts, resumed_rows=checkpoint.counts.rows)

    def take(self, block: EventBlock) -> None:
        """Store a block, committing as it goes; its rejects are written down behind its events."""
        if block.last_line <= self._lines:
            return
        for past, last_line in _batches(block, after_line=self._lines):
            witness = self._store(past)
            self._lines = last_line
            if witness:
                self._workspace.save_checkpoint(self._of, self.report.counts, witness, last_line)
            self._on_batch(self.report)
        for reject in block.rejects:
            self.report.add_reject(reject)
            self._workspace.add_reject(reject)
        self._lines = block.last_line

    def _store(self, past: Sequence[Past]) -> str:
        stored, witness = transact(
            self._engine, lambda conn: (store_past(conn, past), witness_of(past, conn))
        )
        counts = self.report.counts
        counts.created += stored.new
        counts.unchanged += stored.repeated
        counts.unknown += stored.unknown
        return witness


def _batches(block: EventBlock, after_line: int) -> Iterator[tuple[list[Past], int]]:
    """The events of a block behind a line, and the line of the last one of each batch."""
    contexts = block.devices << 4 | block.referrers
    columns = (block.readers, block.articles, block.at_ms, contexts)
    first = int(np.searchsorted(block.lines, after_line, side="right"))
    for start in range(first, len(block.lines), BATCH_EVENTS):
        some = slice(start, start + BATCH_EVENTS)
        actions = map(Action, block.actions[some].tolist())
        past = list(map(Past, actions, *(column[some].tolist() for column in columns)))
        yield past, int(block.lines[some][-1])
