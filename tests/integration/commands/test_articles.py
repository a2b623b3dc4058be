"""What stands on the site, and who may see it, from the shell, on both databases."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
import redis
from click.testing import CliRunner, Result
from sqlalchemy import Engine, update

from tests.conftest import NOWHERE
from tests.lab.newsroom import HOUR_MS, Clock, Newsroom
from tests.lab.sites import PATIENT
from tidings.commands.main import main
from tidings.news.articles import ArticleNotFoundError, Articles
from tidings.news.removal import delete_articles
from tidings.news.tables import article
from tidings.process.clock import now_ms
from tidings.process.errors import PREFIX
from tidings.store.delayed_tables import delayed_job
from tidings.store.engine import transaction

Type = Callable[..., Result]


@pytest.fixture
def newsroom(engine: Engine) -> Newsroom:
    room = Newsroom(engine, Clock(now_ms()))
    room.channels(1, 2)
    room.authors(5)
    return room


@pytest.fixture
def typed(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    """`typed("articles", "list")` at a shell of that site."""
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", redis_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_TIMEOUT_S", str(PATIENT["redis_timeout_s"]))

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return run


@pytest.fixture
def articles(engine: Engine, redis_client: redis.Redis) -> Articles:
    """As a gateway of that site has them."""
    return Articles(engine, redis_client, card_ttl_s=300, clock=now_ms)


def rows(done: Result) -> list[dict[str, object]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_read(articles: Articles, article_id: int) -> bool:
    """Whether a reader gets it, card and whole alike."""
    try:
        whole = articles.whole(article_id)
    except ArticleNotFoundError:
        assert articles.cards([article_id]) == {}
        return False
    assert set(articles.cards([article_id])) == {whole.article_id}
    return True


def test_articles_are_listed_newest_first_with_what_readers_do_not_see(
    typed: Type, newsroom: Newsroom
) -> None:
    """By channel, by number or slug, by status, up to a limit; for programs an object a line."""
    new, old = newsroom.articles(2)
    down = newsroom.article(channel_id=2, status="taken_down", published_ms=now_ms() - 9 * HOUR_MS)

    def listed(*words: str) -> list[object]:
        return [row["article_id"] for row in rows(typed("articles", "list", "--json", *words))]

    assert listed() == [new, old, down]
    assert listed("--limit", "1") == [new]
    assert listed("--channel", "channel-2") == listed("--channel", "2") == [down]
    assert listed("--status", "taken_down") == [down]
    assert listed("--channel", "for-you", "--status", "published") == [new, old]
    table = typed("articles", "list").output
    assert table.splitlines()[0].split() == [
        "article_id",
        "status",
        "published_at",
        "channel",
        "title",
    ]
    assert "taken_down" in table


def test_an_article_is_shown_with_all_that_is_stored_of_it(typed: Type, newsroom: Newsroom) -> None:
    id_ = newsroom.article(author_id=5, title="T", body="<p>B</p>", url="https://example.org/a")
    (shown,) = rows(typed("articles", "show", str(id_), "--json"))

    assert shown["article_id"] == id_
    assert (shown["channel"], shown["author"], shown["title"]) == ("channel-1", "Author 5", "T")
    assert (shown["status"], shown["body"], shown["click_count"]) == ("published", "<p>B</p>", 0)
    assert "https://example.org/a" in typed("articles", "show", str(id_)).output


def test_a_take_down_hides_what_was_cached_and_restoring_shows_it(
    typed: Type, newsroom: Newsroom, articles: Articles
) -> None:
    """At once, for a process that has it in its cache; twice changes nothing."""
    id_ = newsroom.article()
    assert is_read(articles, id_)

    for _ in range(2):
        assert typed("articles", "take-down", str(id_)).output == f"article {id_} is taken down\n"
        assert not is_read(articles, id_)
    assert typed("articles", "restore", str(id_)).output == f"article {id_} is restored\n"
    assert is_read(articles, id_)
    assert typed("articles", "restore", str(id_)).output == f"article {id_} was not taken down\n"
    assert is_read(articles, id_)


@pytest.mark.parametrize("group", ["articles", "jobs"])
def test_a_publication_that_is_put_off_hides_what_was_cached(
    typed: Type, newsroom: Newsroom, articles: Articles, engine: Engine, group: str
) -> None:
    """Trap: it stayed readable for as long as its card was cached. The hour is a delayed job, which
    publishing now takes back."""
    id_ = newsroom.article()
    assert is_read(articles, id_)
    done = typed(group, "publish", str(id_), "--at", "2030-01-01T18:00+01:00")

    assert done.output == f"article {id_} appears at 2030-01-01 17:00:00Z\n"
    assert not is_read(articles, id_)
    (job,) = rows(typed("jobs", "show", f"publish_article:{id_}", "--json"))
    assert job["run_at"] == "2030-01-01T17:00:00Z"

    assert typed("articles", "publish", str(id_)).output == f"article {id_} is published\n"
    assert is_read(articles, id_)
    with engine.connect() as conn:
        assert conn.execute(delayed_job.select()).all() == []
    again = typed("articles", "publish", str(id_))
    assert again.output == f"article {id_} is published already\n"


def test_what_was_taken_down_is_published_as_well(
    typed: Type, newsroom: Newsroom, articles: Articles
) -> None:
    """With the moment it had, so that it does not jump to the top."""
    id_ = newsroom.article(status="taken_down", published_ms=now_ms() - 9 * HOUR_MS)
    assert not is_read(articles, id_)
    typed("articles", "publish", str(id_))

    assert is_read(articles, id_)
    assert articles.whole(id_).published_at < now_ms() - 8 * HOUR_MS


def test_an_article_that_is_taken_down_misses_its_hour(
    typed: Type, newsroom: Newsroom, engine: Engine
) -> None:
    """The promise to publish it goes with it."""
    id_ = newsroom.article()
    typed("articles", "publish", str(id_), "--at", "2030-01-01")
    typed("articles", "take-down", str(id_))

    with engine.connect() as conn:
        assert conn.execute(delayed_job.select()).all() == []


def test_what_is_restored_before_its_hour_says_when_it_appears(
    typed: Type, newsroom: Newsroom, articles: Articles
) -> None:
    """Trap: "is restored" sounds like now, and readers are told that there is no such article."""
    id_ = newsroom.article(published_ms=newsroom.clock() + HOUR_MS)
    typed("articles", "take-down", str(id_))

    said = typed("articles", "restore", str(id_)).output

    assert said.startswith(f"article {id_} is restored and appears at 20")
    assert not is_read(articles, id_)


def test_a_deleted_article_leaves_no_promise_of_its_publication(
    typed: Type, newsroom: Newsroom, articles: Articles, engine: Engine
) -> None:
    """Or the job would come, and find nothing, at an hour that no editor remembers."""
    gone, kept = newsroom.article(), newsroom.article()
    for id_ in (gone, kept):
        typed("articles", "publish", str(id_), "--at", "2040-01-01")

    with transaction(engine) as conn:
        delete_articles(conn, [gone], articles)

    with engine.connect() as conn:
        assert [row.ref for row in conn.execute(delayed_job.select())] == [str(kept)]


def test_a_database_that_another_program_holds_is_one_line(
    typed: Type, newsroom: Newsroom, engine: Engine
) -> None:
    """Nothing is changed, and the exit code says that trying again may help."""
    id_ = newsroom.article()
    with transaction(engine) as conn:
        conn.execute(update(article).where(article.c.id == id_).values(title="held"))
        done = typed("articles", "take-down", str(id_))

    assert done.exit_code == os.EX_TEMPFAIL
    assert done.stderr.splitlines() == ["tidings: the database is busy (lock_wait); try again"]
    assert "published" in typed("articles", "show", str(id_), "--json").output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("show", "99"), "there is no article 99"),
        (("publish", "99"), "there is no article 99"),
        (("publish", "99", "--at", "2030-01-01"), "there is no article 99"),
        (("take-down", "99"), "there is no article 99"),
        (("restore", "99"), "there is no article 99"),
        (
            ("publish", "1", "--at", "2020-01-01"),
            "2020-01-01 00:00:00Z is past; without --at the article is published now",
        ),
        (("publish", "1", "--at", "soon"), "'soon' is not a moment such as 2026-11-23T18:00"),
        (
            ("publish", "1", "--at", "0001-01-01T00:00+23:00"),
            "'0001-01-01T00:00+23:00' is not a moment such as 2026-11-23T18:00",
        ),
        (("list", "--channel", "sea"), "there is no channel 'sea'; `tidings channels list`"),
    ],
)
def test_what_cannot_be_is_one_line_and_changes_nothing(
    typed: Type, newsroom: Newsroom, engine: Engine, words: tuple[str, ...], expected: str
) -> None:
    newsroom.article(id=1)
    done = typed("articles", *words)

    assert (done.exit_code, done.output) == (1, f"Error: {expected}\n")
    with engine.connect() as conn:
        assert conn.execute(delayed_job.select()).all() == []
    assert [row["status"] for row in rows(typed("articles", "list", "--json"))] == ["published"]


def test_without_redis_a_change_stands_and_says_what_is_stale(
    typed: Type, newsroom: Newsroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is away never stands between an editor and a take-down."""
    id_ = newsroom.article()
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", f"redis://{NOWHERE}/0")
    done = typed("articles", "take-down", str(id_))

    assert (done.exit_code, done.stdout) == (0, f"article {id_} is taken down\n")
    assert done.stderr == (
        "Redis does not answer: readers may see what changed as it was for 300 s\n"
    )
    assert [row["status"] for row in rows(typed("articles", "list", "--json"))] == ["taken_down"]


def test_channels_are_listed_with_how_many_articles_they_have(
    typed: Type, newsroom: Newsroom
) -> None:
    newsroom.articles(3)
    newsroom.article(channel_id=2, status="taken_down")

    assert rows(typed("channels", "list", "--json")) == [
        {"channel_id": 1, "slug": "channel-1", "name": "Channel 1", "articles": 3},
        {"channel_id": 2, "slug": "channel-2", "name": "Channel 2", "articles": 1},
    ]
    assert "channel-2" in typed("channels", "list").output


class TestAnEmptySite:
    """The database is migrated and has nothing in it."""

    @pytest.mark.parametrize("group", ["articles", "channels"])
    def test_it_says_how_to_fill_it(self, typed: Type, group: str) -> None:
        """In words for people; a program gets no line."""
        words = typed(group, "list").output

        assert "`tidings import articles FILE`" in words
        assert "`tidings demo load`" in words
        assert typed(group, "list", "--json").output == ""


def test_a_row_whose_date_is_none_is_listed_and_can_be_taken_down(
    typed: Type, newsroom: Newsroom
) -> None:
    """Trap: SQLite keeps any text in a date. The editor has to see it to be rid of it."""
    id_ = newsroom.article()
    with newsroom.engine.begin() as conn:
        if newsroom.engine.dialect.name != "sqlite":
            conn.exec_driver_sql("SET sql_mode=''")
        conn.exec_driver_sql(
            f"UPDATE article SET published_at = '0000-00-00 00:00:00' WHERE id = {id_}"
        )
    (listed,) = rows(typed("articles", "list", "--json"))

    assert listed["published_at"] is None
    assert typed("articles", "take-down", str(id_)).exit_code == 0


@pytest.mark.parametrize("number", [2**63, 10**30])
@pytest.mark.parametrize("command", ["show", "publish", "take-down", "restore"])
def test_a_number_that_no_database_takes_is_refused_in_one_line(
    typed: Type, command: str, number: int
) -> None:
    """As any other that is no article's: not by a traceback of the driver."""
    done = typed("articles", command, str(number))

    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (2, True)
    assert "is not in the range" in done.output
