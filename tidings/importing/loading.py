"""Takes rows from a source's reader to the database: judge, gather a batch, write it, say how far
it got.

One loop for every format and every caller. Memory holds one batch, which is bounded in rows and in
characters; rendering and sanitising happen before the transaction begins, so that a writer's lock
is held for milliseconds.

    import_rows([{"title": "T", "body": "B", "channel": "c"}], engine).counts.created  # 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine

from tidings.importing.addresses import PUBLIC_ONLY, FetchRules
from tidings.importing.formats import Format, detect, read_input, read_list, told_by
from tidings.importing.inputs import UNREADABLE, Input, InputError, open_input
from tidings.importing.moments import from_milliseconds
from tidings.importing.report import Report
from tidings.importing.rows import NewArticle, Place, Reject, Row, RowError, make_article
from tidings.importing.workspace import Workspace, open_workspace
from tidings.importing.writing import FILES, Origin, make_feed_origin, write_articles
from tidings.news.storing import is_stored
from tidings.process.clock import Clock, now_ms
from tidings.sources.records import UNLISTED
from tidings.sources.registry import SourceError, ensure_feed
from tidings.store.transacting import transact

BATCH_ROWS = 200
BATCH_CHARS = 4 * 1024 * 1024

OnChange = Callable[[Sequence[int]], None]
OnProgress = Callable[[Report, float], None]


def ignore(*_what: object) -> None:
    """The caller did not ask to be told."""


def import_articles(
    location: str,
    engine: Engine,
    *,
    folder: Path,
    added_by: str = "import",
    format_: Format | None = None,
    channel: str | None = None,
    restart: bool = False,
    rules: FetchRules = PUBLIC_ONLY,
    clock: Clock = now_ms,
    on_change: OnChange = ignore,
    on_progress: OnProgress = ignore,
) -> Report:
    """Import a file, an http(s) address, or `-` for standard input.

    Run again after it was interrupted, it continues where it was; run again after it ended, it
    changes only what has changed. Rejected rows are in `Report.rejects_path`. Files are the
    operator's own word; a feed at an address speaks for its own articles only, as one of the site's
    sources, and so does each feed of a list.

    Args:
        location: what to import.
        engine: the database.
        folder: where rejects, checkpoints and downloads are kept; made if it is not there.
        added_by: names who imports, for the sources that are new. They are not asked again until
            an operator adds or resumes them.
        format_: of the input; by default told from its name or content.
        channel: for rows that name none.
        restart: begin at the first row even if an earlier run was interrupted.
        rules: which machines may be asked.
        clock: now in ms since the epoch, the publication of what does not say when it was
            published.
        on_change: called after each commit with the ids of the articles that are new or changed.
        on_progress: called after each batch with the report so far and the fraction of the source
            that was read.

    Raises:
        InputError: it cannot be read at all, its format cannot be told, or an address answers
            something else than a feed and neither its name nor `format_` says so.
        OSError: nothing can be written in `folder`.
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands, and another run
            continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        open_input(location, folder, rules) as opened,
        open_workspace(folder, opened.name) as workspace,
    ):
        chosen = format_ or _detect(opened)
        of = f"{opened.fingerprint} {chosen} {channel or ''} {engine.url.render_as_string()}"
        report, witness = (Report(), "") if restart else _resume(workspace, of, engine)
        if not report.resumed_rows:
            workspace.begin()

        def on_batch(witness: str) -> None:
            # The entries of a list of feeds are other ones tomorrow; there is no place to come back
            # to.
            if chosen is not Format.OPML:
                workspace.save_checkpoint(of, report.counts, witness)
            on_progress(report, opened.fraction_read())

        load = Loader(
            engine,
            report,
            channel=channel,
            clock=clock,
            on_change=on_change,
            on_reject=workspace.add_reject,
            on_batch=on_batch,
            witness=witness,
        )
        find_origin = partial(_find_origin, engine, added_by=added_by)
        if chosen is Format.OPML:
            for outline, rows in read_list(opened, folder, channel=channel, rules=rules):
                load.run(rows, origin=find_origin(outline.address))
        else:
            is_feed = chosen is Format.FEED and opened.url is not None
            rows = _until_unreadable(read_input(opened, chosen, channel=channel), opened)
            load.run(
                islice(rows, report.resumed_rows, None),
                origin=find_origin(location) if is_feed else FILES,
            )
        workspace.finish()
        report.rejects_path = workspace.rejects_path if report.counts.rejected else None
        return report


def import_rows(
    rows: Iterable[Mapping[str, object]],
    engine: Engine,
    *,
    clock: Clock = now_ms,
    on_change: OnChange = ignore,
) -> Report:
    """Import rows that the caller has, by the same rules as a file's; they are numbered from 1 as
    its lines would be.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed. What was committed stands.
    """
    report = Report()
    numbered = (Row(Place(line=number), values) for number, values in enumerate(rows, start=1))
    Loader(engine, report, clock=clock, on_change=on_change).run(numbered)
    return report


class Loader:
    """The state of one import between batches."""

    def __init__(
        self,
        engine: Engine,
        report: Report,
        *,
        clock: Clock,
        on_change: OnChange,
        channel: str | None = None,
        on_reject: Callable[[Reject], None] = ignore,
        on_batch: Callable[[str], None] = ignore,
        witness: str = "",
    ) -> None:
        self._engine = engine
        self.report = report
        self._origin = FILES
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

    def run(self, rows: Iterable[Row | Reject], *, origin: Origin = FILES) -> None:
        """Bring in all of these rows, as the word of one source."""
        self._origin = origin
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
            self.report.counts.duplicates += 1
        self._batch[identity] = article
        self._chars += len(article.body)

    def _refuse(self, reject: Reject) -> None:
        self.report.add_reject(reject)
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
        counts = self.report.counts
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


def _detect(opened: Input) -> Format:
    chosen = detect(opened)
    # A stranger who answers for a feed's address must not speak as a file of ours.
    is_meant = opened.url is None or chosen is Format.FEED or told_by(opened.location) is chosen
    if is_meant:
        return chosen
    raise InputError(
        f"{opened.location}: answers {chosen} where a feed was expected; if that is meant, give "
        f"--format {chosen}"
    )


def _find_origin(engine: Engine, address: str, *, added_by: str) -> Origin:
    def ensure(conn: Connection) -> int:
        return ensure_feed(conn, address, added_by=added_by, state=UNLISTED)

    try:
        return make_feed_origin(transact(engine, ensure), address)
    except SourceError:
        # Such an address of a list was not fetched either: it has no rows but its reject.
        return FILES


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
