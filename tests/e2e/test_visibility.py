"""An editor hides and shows articles while readers read: what is hidden is gone at once, whatever
the caches held, and what is shown is there again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.servers import wait_until
from tests.lab.sites import TIDINGS, Site

StartSite = Callable[..., AbstractContextManager[Site]]
# A card is believed for five minutes; a test that waits for that fails.
CARD_TTL_S = 300
# The catalogue looks once a second, and the machine may be busy.
SECONDS = 30
# The command that names the hour is refused once it is past, and may take long to start.
SOON_S = 25


def command(site: Site, *words: str) -> str:
    """What `tidings WORDS` prints on this site."""
    done = subprocess.run(
        [TIDINGS, *words],
        env=site.environment,
        cwd=site.settings.site.var_dir.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def put_off(site: Site, article_id: int, wait: timedelta) -> datetime:
    """When it will be published from now on."""
    hour = datetime.now(UTC) + wait
    command(site, "articles", "publish", str(article_id), "--at", hour.isoformat())
    return hour


def in_feed(site: Site) -> set[int]:
    """The articles that a reader who comes now is shown."""
    answer = site.reader().get("/articles")
    assert answer.status == 200, answer.body
    return {card["article_id"] for card in answer.json["results"]}


def status_of(site: Site, article_id: int) -> int:
    return site.reader().get(f"/articles/{article_id}").status


@pytest.mark.long
def test_what_is_hidden_is_gone_at_once_and_what_is_shown_comes_back(
    new_site: StartSite, tmp_path: Path, database_url: str
) -> None:
    """Trap: a publication that was put off stayed readable for as long as its card was cached."""
    rows = [
        {"id": f"a{n}", "title": f"Article {n}", "body": "Text.", "channel": "harbour"}
        for n in range(4)
    ]
    source = tmp_path / "articles.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with new_site("--no-demo", database_url=database_url, card_ttl_s=CARD_TTL_S) as site:
        site.wait_until_ready()
        wait_until(lambda: "tidings import articles" in site.output, SECONDS, "how to fill it")
        command(site, "import", "articles", str(source))
        listed = command(site, "articles", "list", "--json").splitlines()
        kept, down, later, gone = sorted(json.loads(line)["article_id"] for line in listed)
        wait_until(lambda: len(in_feed(site)) == 4, SECONDS, "the articles to be recommended")
        assert [status_of(site, id_) for id_ in (kept, down, later, gone)] == [200] * 4

        command(site, "articles", "delete", str(gone))
        assert status_of(site, gone) == 404
        command(site, "articles", "take-down", str(down))
        assert status_of(site, down) == 404
        put_off(site, later, timedelta(hours=1))
        assert status_of(site, later) == 404
        wait_until(lambda: not in_feed(site) & {down, later, gone}, SECONDS, "the feeds to follow")
        assert status_of(site, kept) == 200

        command(site, "articles", "restore", str(down))
        assert status_of(site, down) == 200
        hour = put_off(site, later, timedelta(seconds=SOON_S))
        wait_until(lambda: status_of(site, later) == 200, SOON_S + SECONDS, "the hour to come")
        assert datetime.now(UTC) >= hour
        wait_until(lambda: {down, later} <= in_feed(site), SECONDS, "the feeds to follow")
