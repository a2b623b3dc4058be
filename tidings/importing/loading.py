"""Takes rows from a source's reader to the database: judge, gather a batch, write it, say how far
it got.

One loop for every format and every caller. Memory holds one batch, which is bounded in rows and in
characters; rendering and sanitising happen before the transaction begins, so that a writer's lock
is held for milliseconds.

    import_rows([{"title": "T", "body": "B", "channel": "c"}], engine).counts.created  # 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.formats import Format, detect, read_input
from tidings.importing.inputs import UNREADABLE, Input, InputError, open_input
from tidings.importing.moments import from_milliseconds
from tidings.importing.report import Report
from tidings.importing.rows import NewArticle, Place, Reject, Row, RowError, make_article
from tidings.importing.workspace import Workspace, open_workspace
from tidings.importing.writing import FILES, Origin, write_articles
from tidings.news.storing import is_stored
from tidings.process.clock import Clock, now_ms

BATCH_ROWS = 200
BATCH_CHARS = 4 * 1024 * 1024

OnChange = Callable[[Sequence[int]], None]
OnProgress = Callable[[Report, float], None]


def _ignore(*_what: object) -> None:
    """The caller did not ask to be told."""


def import_articles(
    source: str,
    engine: Engine,
    *,
    folder: Path,
    format_: Format | None = None,
    channel: str | None = None,
    restart: bool = False,
    rules: FetchRules = PUBLIC_ONLY,
    clock: Clock = now_ms,
    on_change: OnChange = _ignore,
    on_progress: OnProgress = _ignore,
) -> Report:
    """Import a file, an http(s) address, or `-` for standard input.

    Run again after it was interrupted, it continues where it was; run again after it ended, it
    changes only what has changed. Rejected rows are in `Report.rejects_path`.

    Args:
        source: what to import.
        engine: the database.
        folder: where rejects, checkpoints and downloads are kept; made if it is not there.
        format_: of the source; by default told from its name or content.
        channel: for rows that name none.
        restart: begin at the first row even if an earlier run was interrupted.
        rules: which machines may be asked.
        clock: now in ms since the epoch, the publication of what does not say when it was
            published.
        on_change: called after each commit with the ids of the articles that are new or changed.
        on_progress: called after each batch with the report so far and the fraction of the source
            that was read.

    Raises:
        InputError: it cannot be read at all, or its format cannot be told.
        OSError: nothing can be written in `folder`.
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands, and another run
            continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        open_input(source, folder, rules) as opened,
        open_workspace(folder, opened.name) as workspace,
    ):
        chosen = format_ or detect(opened)
        of = f"{opened.fingerprint} {chosen} {channel or ''} {engine.url.render_as_string()}"
        report, witness = (Report(), "") if restart else _resume(workspace, of, engine)
        if not report.resumed_rows:
            workspace.begin()
        rows = _until_unreadable(
            read_input(opened, chosen, folder, channel=channel, rules=rules), opened
        )

        def on_batch(witness: str) -> None:
            # The entries of a list of feeds are other ones tomorrow; there is no place to come back
            # to.
            if chosen is not Format.OPML:
                workspace.save_checkpoint(of, report.counts, witness)
            on_progress(report, opened.fraction_read())

        load = _Loader(
            engine,
            report,
            channel=channel,
            clock=clock,
            on_change=on_change,
            on_reject=workspace.add_reject,
            on_batch=on_batch,
            witness=witness,
        )
        load.run(islice(rows, report.resumed_rows, None))
        workspace.finish()
        report.rejects_path = workspace.rejects_path if report.counts.rejected else None
        return report


def import_rows(
    rows: Iterable[Mapping[str, object]],
    engine: Engine,
    *,
    clock: Clock = now_ms,
    on_change: OnChange = _ignore,
) -> Report:
    """Import rows that the caller has, by the same rules as a file's; they are numbered from 1 as
    its lines would be.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands.
    """
    report = Report()
    numbered = (Row(Place(line=number), values) for number, values in enumerate(rows, start=1))
    _Loader(engine, report, clock=clock, on_change=on_change).run(numbered)
    return report


class _Loader:
    """The state of one import between batches."""

    def __init__(
        self,
        engine: Engine,
        report: Report,
        *,
        clock: Clock,
        on_change: OnChange,
        origin: Origin = FILES,
        channel: str | None = None,
        on_reject: Callable[[Reject], None] = _ignore,
        on_batch: Callable[[str], None] = _ignore,
        witness: str = "",
    ) -> None:
        self._engine = engine
        self._report = report
        self._origin = origin
        self._channel = channel
        self._clock = clock
        self._on_change = on_change
        self._on_reject = on_reject
        self._on_batch = on_batch
        self._seen = _SeenIds()
        self._batch: dict[str, NewArticle] = {}
        self._chars = 0
        self._unsaved = 0
        self._witness = witness

    def run(self, rows: Iterable[Row | Reject]) -> None:
        for row in rows:
            self._unsaved += 1
            self._take(row)
            if self._unsaved >= BATCH_ROWS or self._chars >= BATCH_CHARS:
                self._flush()
        self._flush()

    def _take(self, row: Row | Reject) -> None:
        if isinstance(row, Reject):
            self._refuse(row)
            return
        try:
            article = make_article(row.values, default_channel=self._channel)
        except RowError as ex:
            self._refuse(Reject(row.place, str(ex), row.values))
            return
        identity = self._origin.identify(article)
        if identity in self._batch:
            self._report.counts.duplicates += 1
        self._batch[identity] = article
        self._chars += len(article.body)

    def _refuse(self, reject: Reject) -> None:
        self._report.add_reject(reject)
        self._on_reject(reject)

    def _flush(self) -> None:
        if not self._unsaved:
            return
        if self._batch:
            self._write()
        self._chars = self._unsaved = 0
        self._on_batch(self._witness)

    def _write(self) -> None:
        written = write_articles(
            self._engine,
            self._batch,
            from_milliseconds(self._clock()),
            origin=self._origin,
            is_met=self._seen.has,
        )
        counts = self._report.counts
        counts.gone += written.gone
        for name in ("created", "updated", "unchanged"):
            ids = getattr(written, name)
            again = self._seen.add(ids)
            setattr(counts, name, getattr(counts, name) + len(ids) - again)
            counts.duplicates += again
        # Of what an editor deleted there is no trace that a checkpoint could be believed by.
        self._witness = "" if written.gone else next(reversed(self._batch))
        self._batch.clear()
        if changed := (*written.created, *written.updated):
            self._on_change(changed)


class _SeenIds:
    """Which articles this run has met, a bit each: ids are dense, and a set of them would take far
    more."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def has(self, id_: int) -> bool:
        """True if the article was met before."""
        byte = id_ >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (id_ & 7))

    def add(self, ids: Sequence[int]) -> int:
        """Remember these ids; returns how many were known."""
        again = 0
        for id_ in ids:
            byte, bit = id_ >> 3, 1 << (id_ & 7)
            if byte >= len(self._bits):
                self._bits.extend(bytes(byte + 1 - len(self._bits)))
            again += bool(self._bits[byte] & bit)
            self._bits[byte] |= bit
        return again


def _resume(workspace: Workspace, of: str, engine: Engine) -> tuple[Report, str]:
    checkpoint = workspace.read_checkpoint(of)
    if checkpoint is None:
        return Report(), ""
    with engine.connect() as conn:
        # Another database, or one that was restored, has not the rows that the checkpoint counts.
        if checkpoint.witness and not is_stored(conn, checkpoint.witness):
            return Report(), ""
    workspace.begin(checkpoint.rejects_bytes)
    return Report(checkpoint.counts, resumed_rows=checkpoint.counts.rows), checkpoint.witness


def _until_unreadable(rows: Iterator[Row | Reject], source: Input) -> Iterator[Row | Reject]:
    """The rows; if the source breaks off after some of them, the break is the last reject."""
    last: Row | Reject | None = None
    try:
        for last in rows:
            yield last
    except UNREADABLE as ex:
        if last is None:
            raise InputError(f"{source.location}: {ex}") from None
        yield Reject(last.place, f"after this the source cannot be read: {ex}", None)
