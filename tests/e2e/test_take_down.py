"""An editor takes an article down over HTTP, and it is gone from every path by which readers and
machines come to it. How long each took is printed; only what never comes to pass fails."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.conftest import StartSite
from tests.lab.sites import TIDINGS, Reader, Site

# Files follow within seconds, but the machine may be busy.
PATIENCE_S = 180
HTML = {"Accept": "text/html"}


def make_key(site: Site, role: str) -> dict[str, str]:
    made = subprocess.run(
        [TIDINGS, "keys", "add", role, "--role", role],
        env=site.environment,
        cwd=site.settings.site.var_dir.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def paths_to(reader: Reader, article_id: int, channel_id: int) -> Mapping[str, str]:
    """Name of a path → where an answer of 200 names the article, while it is out."""
    stamp = reader.get("/articles?article_num=100").json["pre_timestamp"]
    return {
        "whole article": f"/articles/{article_id}",
        "feed": "/articles?article_num=100",
        "history": f"/articles?article_num=100&time_stamp={stamp}",
        "likings": "/reader/likings",
        "page of the article": f"/articles/{article_id} as HTML",
        "page of the channel": f"/channels/{channel_id} as HTML",
        "feed out, RSS": "/feed.rss",
        "feed out, Atom": "/feed.atom",
        "feed out, channel": f"/channels/{channel_id}.rss",
    }


def has(reader: Reader, place: str, article: Mapping[str, object]) -> bool:
    path, _, form = place.partition(" as ")
    answer = reader.send("GET", path, headers=HTML if form else {})
    return answer.status == 200 and str(article["title"]).encode() in answer.body


def wait_for(
    site: Site, places: Mapping[str, str], holds: Callable[[str], bool]
) -> dict[str, float]:
    """Path → the seconds until it holds, of all of them side by side."""
    started_s = time.monotonic()
    took: dict[str, float] = {}
    give_up_s = started_s + PATIENCE_S
    while len(took) < len(places):
        for name, place in places.items():
            if name not in took and holds(place):
                took[name] = time.monotonic() - started_s
        missing = sorted(places.keys() - took.keys())
        assert time.monotonic() < give_up_s, f"never {missing}: {site.output[-3000:]}"
        time.sleep(0.02)
    return took


@pytest.mark.long
def test_what_an_editor_takes_down_is_gone_from_every_path(new_site: StartSite) -> None:
    with new_site("--no-demo") as site:
        site.wait_until_ready()
        key, reader = make_key(site, "editor"), site.reader()
        channel = reader.send("POST", "/channels", {"name": "Harbour"}, headers=key).json
        wanted = {
            "title": "Otters above the lock",
            "body": "They came with the tide.",
            "channel_id": channel["channel_id"],
            "publish": True,
        }
        named = {**key, "Idempotency-Key": "otters"}
        made = reader.send("POST", "/articles", wanted, headers=named)
        assert made.status == 201, made.body
        article = made.json
        path = f"/articles/{article['article_id']}"
        feed = {"feed": "/articles?article_num=100"}
        wait_for(site, feed, lambda place: has(reader, place, article))
        assert reader.send("PUT", f"{path}/liking").status == 204
        places = paths_to(reader, article["article_id"], channel["channel_id"])
        wait_for(site, places, lambda place: has(reader, place, article))

        answer = reader.send("POST", f"{path}/take-down", headers={**key, "If-Match": "*"})
        assert answer.status == 200, answer.body
        took = wait_for(site, places, lambda place: not has(reader, place, article))

        print(*(f"{name}: gone in {seconds:.2f} s" for name, seconds in took.items()), sep="\n")
        folder = site.settings.site.var_dir / "site"
        assert [
            file
            for file in folder.rglob("*")
            if file.is_file() and article["title"].encode() in file.read_bytes()
        ] == []
