"""What an import does to the database: everything once, only what changed, and nothing that is not
its business."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.integration.importing.conftest import Stored, make_row, write_jsonl
from tests.lab.newsroom import NOW_MS, Clock
from tidings.importing import (
    Counts,
    Format,
    InputError,
    Report,
    import_articles,
    import_rows,
    loading,
    writing,
)
from tidings.news.channels import ensure_channels
from tidings.news.tables import article, article_count, author, channel
from tidings.news.visibility import SCHEDULED, TAKEN_DOWN
from tidings.process.clock import moment
from tidings.store.engine import transaction
from tidings.store.retry import CONTENTION

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Any:
    """Import rows as a JSONL file of a fixed name; rows that are strings are lines as they
    stand."""

    def run_(rows: Sequence[dict[str, Any] | str], **options: Any) -> Report:
        path = write_jsonl(tmp_path / "articles.jsonl", rows)
        return import_articles(str(path), engine, folder=tmp_path / "import", **options)

    return run_


def age(engine: Engine, **values: Any) -> None:
    """Make every article look as if it had last changed long ago."""
    with transaction(engine) as conn:
        conn.execute(update(article).values(updated_at=LONG_AGO, **values))


def test_rows_become_articles(engine: Engine, stored: Stored) -> None:
    """With channel, author and counts, all made as they are needed."""
    report = import_rows(
        [make_row(1, url="https://example.org/1"), make_row(2, channel="Sea side")], engine
    )

    assert report.counts == Counts(created=2)
    first = stored.articles()["n1"]
    assert (first.title, first.body, first.slug, first.name) == (
        "Title 1",
        "<p>Body <em>1</em>.</p>",
        "news",
        "Author 1",
    )
    assert (first.summary, first.url, first.status) == (
        "Body 1.",
        "https://example.org/1",
        "published",
    )
    assert first.published_at == datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
    assert stored.articles()["n2"].slug == "sea-side"
    assert stored.is_whole()


def test_the_same_again_changes_nothing(engine: Engine, stored: Stored, run: Any) -> None:
    """Not even `updated_at`, which everything downstream follows."""
    rows = [make_row(number) for number in range(5)]
    run(rows)
    age(engine)
    before = stored.articles()

    assert run(rows).counts == Counts(unchanged=5)
    assert stored.articles() == before


def test_only_what_changed_is_updated(engine: Engine, stored: Stored, run: Any) -> None:
    """One article's text, another's author and channel; the third stays untouched. An import leaves
    the counts alone."""
    run([make_row(number) for number in range(3)])
    age(engine)
    with transaction(engine) as conn:
        conn.execute(update(article_count).values(click=7))

    report = run(
        [make_row(0, body="New body."), make_row(1, author="Else", channel="other"), make_row(2)]
    )

    assert report.counts == Counts(updated=2, unchanged=1)
    rows = stored.articles()
    assert (rows["n0"].body, rows["n1"].name, rows["n1"].slug) == (
        "<p>New body.</p>",
        "Else",
        "other",
    )
    assert [rows[name].updated_at > LONG_AGO for name in ("n0", "n1", "n2")] == [True, True, False]
    with engine.connect() as conn:
        assert set(conn.scalars(select(article_count.c.click))) == {7}


def test_what_was_taken_down_stays_down(engine: Engine, stored: Stored) -> None:
    """Though its text is kept as the source has it."""
    import_rows([make_row(1)], engine)
    age(engine, status=TAKEN_DOWN)

    assert import_rows([make_row(1, title="Corrected")], engine).counts == Counts(updated=1)
    row = stored.articles()["n1"]
    assert (row.title, row.status) == ("Corrected", TAKEN_DOWN)


def test_an_hour_that_an_editor_set_stays_set(engine: Engine, stored: Stored) -> None:
    """The job that publishes the article goes by it."""
    import_rows([make_row(1)], engine)
    age(engine, status=SCHEDULED, published_at=moment(NOW_MS))

    assert import_rows([make_row(1)], engine).counts == Counts(unchanged=1)
    assert stored.articles()["n1"].published_at == moment(NOW_MS)


def test_an_unknown_publication_is_the_first_import(engine: Engine, stored: Stored) -> None:
    """And stays that at every later one; one in the future is kept, for readers' queries to wait
    for."""
    clock = Clock()
    undated = make_row(1, published=None)
    import_rows([undated, make_row(2, published="2199-01-01")], engine, clock=clock)
    clock.advance(1000)

    assert import_rows(
        [undated, make_row(2, published="2199-01-01")], engine, clock=clock
    ).counts == Counts(unchanged=2)
    rows = stored.articles()
    assert rows["n1"].published_at == moment(NOW_MS)
    assert (rows["n2"].published_at.year, rows["n2"].status) == (2199, "published")


def test_of_one_id_twice_the_last_row_stands(
    engine: Engine, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a batch and across batches; every row is counted once."""
    monkeypatch.setattr(loading, "BATCH_ROWS", 4)
    rows = [make_row(number % 3, title=f"Version {number}") for number in range(10)]

    report = import_rows(rows, engine)

    assert report.counts == Counts(created=3, duplicates=7)
    assert {name: row.title for name, row in stored.articles().items()} == {
        "n0": "Version 9",
        "n1": "Version 7",
        "n2": "Version 8",
    }


def test_names_that_differ_in_case_or_accent_are_different(engine: Engine, stored: Stored) -> None:
    """Trap: MySQL's usual collation takes /A for /a, José for Jose, and every emoji for every
    other."""
    ids = ["/A", "/a", "José", "Jose", "😀", "😎", "straße", "strasse"]
    rows = [make_row(0, id=text, author=text, title=text) for text in ids]

    assert import_rows(rows, engine).counts == Counts(created=len(ids))
    assert import_rows(rows, engine).counts == Counts(unchanged=len(ids))
    assert {row.name for row in stored.articles().values()} == set(ids)


def test_every_character_comes_back(engine: Engine, stored: Stored) -> None:
    """Four-byte characters, quotes, percent signs, backslashes."""
    text = "😀 “quoted” 100 % \\n ' ; -- %s :x {y} 漢字 ٣"
    import_rows([make_row(1, title=text, summary=text)], engine)

    assert (stored.articles()["n1"].title, stored.articles()["n1"].summary) == (text, text)


def test_the_longest_article_fits(engine: Engine, stored: Stored) -> None:
    """Every column at its limit, and a body whose every character grows fivefold when it is
    escaped."""
    row = make_row(
        1,
        id="i" * 191,
        title="漢" * 512,
        summary="漢" * 2048,
        body_html="&" * (512 * 1024),
        author="漢" * 128,
        url="https://example.org/".ljust(1024, "u"),
    )
    assert import_rows([row], engine).counts == Counts(created=1)
    assert import_rows([row], engine).counts == Counts(unchanged=1)
    assert len(stored.articles()["i" * 191].body) == 5 * 512 * 1024


def test_bad_rows_are_kept_with_line_and_reason(run: Any, stored: Stored) -> None:
    """The good ones are in, and the report says where the others are."""
    report = run([make_row(1), '{"id": NaN}', "", make_row(2, title=""), make_row(3)])

    assert report.counts == Counts(created=2, rejected=2)
    assert [str(reject.place) for reject in report.first_rejects] == ["line 2", "line 4"]
    lines = report.rejects_path.read_text().splitlines()
    assert len(lines) == 2
    assert '"line": 4, "reason": "title: missing", "row": {"id": "n2", "title": ""' in lines[1]
    assert stored.count() == 2


def test_mended_rows_complete_the_import(run: Any, stored: Stored) -> None:
    """And the reject file goes away."""
    report = run([make_row(1), make_row(2, title="")])
    assert report.rejects_path.exists()

    mended = run([make_row(1), make_row(2)])
    assert mended.counts == Counts(created=1, unchanged=1)
    assert mended.rejects_path is None
    assert not report.rejects_path.exists()


def test_those_who_cache_are_told_after_each_commit(
    engine: Engine, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the ids of what is new or changed, which are visible to them by then."""
    monkeypatch.setattr(loading, "BATCH_ROWS", 2)
    told: list[set[int]] = []

    def on_change(ids: Sequence[int]) -> None:
        with engine.connect() as conn:
            told.append(set(conn.scalars(select(article.c.id).where(article.c.id.in_(ids)))))
            assert len(told[-1]) == len(ids)

    run([make_row(number) for number in range(5)], on_change=on_change)
    assert [len(ids) for ids in told] == [2, 2, 1]

    told.clear()
    run([make_row(0), make_row(1), make_row(2, title="New"), make_row(3)], on_change=on_change)
    assert [len(ids) for ids in told] == [1]


def test_progress_is_told_after_each_batch(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fraction of the source that was read, which ends at all of it."""
    monkeypatch.setattr(loading, "BATCH_ROWS", 2)
    told: list[tuple[int, float]] = []
    run(
        [make_row(n) for n in range(5)],
        on_progress=lambda report, part: told.append((report.counts.rows, part)),
    )
    assert [rows for rows, _ in told] == [2, 4, 5]
    assert told[-1][1] == 1.0


def test_memory_holds_one_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends at its number of rows, or at the size of its bodies, as soon as it reaches
    either."""
    sizes: list[int] = []
    write = writing.write_articles

    def spy(engine: Engine, articles: Any, now: datetime, **of: Any) -> Any:
        sizes.append(len(articles))
        return write(engine, articles, now, **of)

    monkeypatch.setattr(loading, "write_articles", spy)
    monkeypatch.setattr(loading, "BATCH_CHARS", 10_000)
    import_rows([make_row(number, body="x" * 4000) for number in range(7)], engine)
    import_rows((make_row(number) for number in range(450)), engine)
    assert sizes == [3, 3, 1, 200, 200, 50]


def test_two_imports_of_the_same_rows_at_once_are_one(
    engine: Engine, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No article, channel or author twice, no import that fails: the second finds it done."""
    monkeypatch.setattr(loading, "BATCH_ROWS", 20)
    rows = [
        make_row(number, channel=f"c{number % 7}", author=f"A{number % 11}")
        for number in range(300)
    ]
    start = threading.Barrier(3)
    reports: list[Report] = []

    def run_one(ordered: list[dict[str, Any]]) -> None:
        start.wait(10)
        reports.append(import_rows(ordered, engine))

    orders = [rows, rows, rows[::-1]]
    threads = [threading.Thread(target=run_one, args=(ordered,)) for ordered in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [report.counts.rows for report in reports] == [300] * 3
    assert sum(report.counts.created for report in reports) == 300
    assert sum(report.counts.updated + report.counts.rejected for report in reports) == 0
    assert (stored.count(), stored.count(channel), stored.count(author)) == (300, 7, 11)
    assert stored.is_whole()


def test_a_batch_that_meets_another_writer_is_written_again(
    engine: Engine, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: between looking for an article and inserting it, another import inserts it."""
    ensure = ensure_channels
    intruded = threading.Event()

    def intrude(conn: Connection, names: Mapping[str, str]) -> dict[str, int]:
        ids = ensure(conn, names)
        if not intruded.is_set():
            intruded.set()
            raise IntegrityError("INSERT", {}, Exception("duplicate key"))
        return ids

    monkeypatch.setattr(writing, "ensure_channels", intrude)
    assert import_rows([make_row(1)], engine).counts == Counts(created=1)
    assert (stored.count(), stored.count(channel)) == (1, 1)


def test_what_the_database_will_not_take_is_raised_in_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few attempts, not for ever."""
    attempts: list[int] = []

    def refuse(*_args: Any) -> Any:
        attempts.append(1)
        raise IntegrityError("INSERT", {}, Exception("duplicate key"))

    monkeypatch.setattr(writing, "_write", refuse)
    with pytest.raises(IntegrityError):
        import_rows([make_row(1)], engine)
    assert len(attempts) == CONTENTION.attempts


def test_an_import_mends_a_publication_that_is_no_date(engine: Engine, stored: Stored) -> None:
    """Trap: SQLite keeps any text in a date; the article must not stop the import that has it
    right."""
    import_rows([make_row(1)], engine)
    with engine.begin() as conn:
        if engine.dialect.name != "sqlite":
            conn.exec_driver_sql("SET sql_mode=''")
        conn.exec_driver_sql("UPDATE article SET published_at = '0000-00-00 00:00:00'")

    assert import_rows([make_row(1)], engine).counts == Counts(updated=1)
    assert {row.published_at.year for row in stored.articles().values()} == {2026}


def test_a_channel_that_is_there_keeps_its_name(engine: Engine, stored: Stored) -> None:
    """The site's own name for it wins over what is made from a slug."""
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(slug="news", name="The News"))
    import_rows([make_row(1)], engine)
    with engine.connect() as conn:
        assert conn.execute(select(channel.c.slug, channel.c.name)).all() == [("news", "The News")]


def test_a_source_that_is_not_of_its_format_changes_nothing(
    engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """Neither the database nor the folder of rejects."""
    path = tmp_path / "articles"
    path.write_text("headline,body\na,b\n")
    for format_ in (Format.CSV, Format.FEED, Format.OPML):
        with pytest.raises(InputError, match="articles: "):
            import_articles(str(path), engine, folder=tmp_path / "import", format_=format_)
    assert stored.count() == 0
    assert list((tmp_path / "import").glob("*.jsonl")) == []


def test_csv_and_feeds_end_in_the_same_articles(
    engine: Engine, stored: Stored, tmp_path: Path
) -> None:
    """The rules are the same for every format."""
    (tmp_path / "a.csv").write_text("id,title,body,channel\nn1,T,Hello *there*.,news\n")
    (tmp_path / "a.rss").write_text(
        "<rss version='2.0'><channel><title>News</title><item><guid>urn:1</guid><title>T</title>"
        "<description>&lt;p&gt;Hello "
        "&lt;em&gt;there&lt;/em&gt;.&lt;/p&gt;</description></item></channel></rss>"
    )
    for name in ("a.csv", "a.rss"):
        assert import_articles(
            str(tmp_path / name), engine, folder=tmp_path / "import"
        ).counts == Counts(created=1)
    one, two = (stored.articles()[name] for name in ("n1", "urn:1"))
    assert (one.title, one.summary, one.body, one.slug) == (
        two.title,
        two.summary,
        two.body,
        two.slug,
    )


def test_ids_are_not_burnt_by_importing_again(engine: Engine, stored: Stored) -> None:
    """Trap: MySQL's upsert takes an id for every row that was there already."""
    for _ in range(3):
        import_rows([make_row(number) for number in range(10)], engine)
    import_rows([make_row(99)], engine)
    with engine.connect() as conn:
        lowest, highest = conn.execute(select(func.min(article.c.id), func.max(article.c.id))).one()
    assert highest - lowest == 10


def test_channels_of_every_script_are_as_many_as_their_names(
    engine: Engine, stored: Stored
) -> None:
    """Trap: without their marks two words of Thai or Japanese are one, as C is C++ without its
    plus."""
    names = ["ผัก", "ผก", "ガラス", "カラス", "दिन", "दीन", "D", "D++", "D#"]
    rows = [make_row(number, channel=name) for number, name in enumerate(names)]
    import_rows(rows, engine)
    with engine.connect() as conn:
        assert sorted(conn.scalars(select(channel.c.name))) == sorted(names)
    assert import_rows(rows, engine).counts == Counts(unchanged=len(names))


def test_a_channel_whose_slug_was_made_otherwise_is_found_by_its_name(
    engine: Engine, stored: Stored
) -> None:
    """As those of other alphabets were, before their slugs kept the marks."""
    with transaction(engine) as conn:
        conn.execute(insert(channel).values(slug="спортивныи", name="Спортивный"))
    import_rows([make_row(1, channel="Спортивный")], engine)
    assert stored.count(channel) == 1
