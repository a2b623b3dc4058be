"""Sites that earlier versions made and used, opened by this one on the same `var/`.

Each folder of `sites/` is a site as an earlier version left it when it was stopped, and what its
readers had been given: cookies, tokens, batches, orders. The clock of the started site is moved to
the time of the folder, since what readers hold expires.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.lab.moved_clock import moved_clock
from tests.lab.servers import find_program, free_port, spawn, wait_until
from tests.lab.sites import PATIENT, TIDINGS, Reader, Site, start_site

SITES = Path(__file__).parent / "sites"
MINUTE_S, DAY_S = 60, 86_400
pytestmark = pytest.mark.long


class Earlier:
    """A site of an earlier version, unpacked into a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        with tarfile.open(SITES / name / "var.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        self.kept: dict[str, Any] = json.loads((SITES / name / "readers.json").read_text())

    @property
    def readers(self) -> list[dict[str, Any]]:
        return list(self.kept["readers"])

    @contextmanager
    def opened(self, after_s: float, **settings: object) -> Iterator[Site]:
        """The site run by this version, so long after the earlier one was stopped."""
        offset_s = self.kept["made_at_ms"] / 1000 + after_s - time.time()
        clock = ["env", *moved_clock(self.folder, offset_s)]
        command = [*clock, str(TIDINGS), "up", "--no-demo"]
        with start_site(self.folder, command=command, **PATIENT, **settings) as site:
            site.wait_until_ready()
            yield site
            site.stop()


@pytest.fixture(params=sorted(path.name for path in SITES.iterdir()))
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Earlier:
    return Earlier(request.param, tmp_path)


def visit(site: Site, reader: dict[str, Any]) -> Reader:
    """The reader's browser, with the cookie that the earlier version gave it."""
    found = site.reader()
    found.keep_cookie("tidings_reader", reader["cookie"])
    return found


def verdicts(browser: Reader, tokens: list[str]) -> list[str]:
    answer = browser.send("POST", "/behaviors", {"events": [{"track": token} for token in tokens]})
    assert answer.status == 202, answer.body
    return [result["verdict"] for result in answer.json["results"]]


def page_back(browser: Reader, channel_id: int, stamp: int) -> list[list[int]]:
    """The article ids of every batch from the one of `stamp` on, the newest first."""
    batches = []
    while stamp:
        feed = browser.get(f"/articles?channel_id={channel_id}&time_stamp={stamp}").json
        batches.append([card["article_id"] for card in feed["results"]])
        stamp = feed["pre_timestamp"]
    return batches


def test_half_an_hour_later_everything_is_where_it_was(earlier: Earlier) -> None:
    """History pages back as it was, nothing seen comes again, unpaid orders expire and give their
    stock back, tokens count, and the reader is the same."""
    with earlier.opened(after_s=31 * MINUTE_S) as site:
        for reader in earlier.readers:
            channel_id, batches = reader["channel_id"], reader["batches"]
            shown = [batch["ids"] for batch in batches]
            browser = visit(site, reader)
            fresh = browser.get(f"/articles?channel_id={channel_id}&article_num=10").json
            new = {card["article_id"] for card in fresh["results"]}

            assert fresh["served_from"] == "personal"
            # Channel 3 has 15 articles, and this reader has seen 15: the oldest come again.
            assert channel_id or new.isdisjoint(id_ for ids in shown for id_ in ids)
            assert page_back(browser, channel_id, fresh["pre_timestamp"]) == shown[::-1]
            assert browser.reader_id == int(reader["cookie"].partition(".")[0])

            unused = [batches[1]["tracks"][0]["click"], batches[1]["exposure"]]
            altered = unused[0][:-1] + ("A" if unused[0][-1] != "A" else "B")
            assert verdicts(browser, [*unused, altered]) == ["accepted", "accepted", "refused"]
            wait_until(partial(is_expired, browser, reader["order"]), 20, "the order to expire")
        (product, *_) = site.reader().get("/products").json["results"]
        lines = [line for reader in earlier.readers for line in reader["order"]["lines"]]
        assert product["quantity"] == earlier.kept["product"]["quantity"] + sum(
            line["quantity"] for line in lines
        )


def is_expired(browser: Reader, order: dict[str, Any]) -> bool:
    found = browser.get(f"/orders/{order['order_id']}").json
    return bool(found["status"] == "cancelled" and found["cancelled_for"] == "expired")


def test_a_token_reported_to_the_earlier_version_counts_no_second_time(earlier: Earlier) -> None:
    """An event's id follows from its token, whichever version reads it."""
    reader = earlier.readers[0]
    clicked, other = (batch["ids"][0] for batch in reader["batches"][:2])
    with earlier.opened(after_s=MINUTE_S, card_ttl_s=1) as site:
        browser = visit(site, reader)
        likings = partial(count, browser, other, "liking")
        before = likings()

        assert set(verdicts(browser, reader["reported"])) == {"accepted"}
        assert verdicts(browser, [reader["batches"][1]["tracks"][0]["liking"]]) == ["accepted"]
        # Events are folded in their order: once the later one counts, the earlier ones are through.
        wait_until(lambda: likings() == before + 1, 30, "the later event to be counted")
        kept = earlier.kept["counts"][str(clicked)]
        assert count(browser, clicked, "click") == kept["click"]
        assert count(browser, clicked, "liking") == kept["liking"]


def count(browser: Reader, article_id: int, name: str) -> int:
    return int(browser.get(f"/articles/{article_id}").json["counts"][name])


def test_tokens_verify_for_their_thirty_days_and_no_longer(earlier: Earlier) -> None:
    """The keys that sign them are the site's, and the site kept them."""
    tokens = [reader["batches"][2]["tracks"][0]["liking"] for reader in earlier.readers]
    with earlier.opened(after_s=29 * DAY_S) as site:
        assert set(verdicts(site.reader(), tokens)) == {"accepted"}
    with earlier.opened(after_s=31 * DAY_S) as site:
        assert set(verdicts(site.reader(), tokens)) == {"expired"}


def answers(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


def test_a_redis_named_in_the_env_file_goes_on_being_used(earlier: Earlier) -> None:
    """A team that named its Redis finds its readers' histories there, and no second Redis."""
    port = free_port()
    data = earlier.folder / "elsewhere"
    shutil.move(earlier.folder / "var" / "redis", data)
    command = ["--port", str(port), "--dir", str(data), "--appendonly", "yes", "--save", ""]
    offset_s = earlier.kept["made_at_ms"] / 1000 + MINUTE_S - time.time()
    clock = ["env", *moved_clock(earlier.folder, offset_s)]
    server = spawn([*clock, find_program("redis-server"), *command])
    try:
        with redis.Redis(port=port) as client:
            wait_until(lambda: answers(client), 20, "Redis")
        (earlier.folder / ".env").write_text(f"TIDINGS_REDIS_URL=redis://127.0.0.1:{port}/0\n")
        with earlier.opened(after_s=MINUTE_S) as site:
            for reader in earlier.readers:
                browser = visit(site, reader)
                stamp = reader["batches"][-1]["pre_timestamp"]
                shown = [batch["ids"] for batch in reader["batches"][:-1]]
                assert page_back(browser, reader["channel_id"], stamp) == shown[::-1]
            assert not [child for child in site.processes() if "redis" in child.name()]
    finally:
        server.kill()
        server.wait()
