"""Limits and first visits at a site as it runs: two workers behind one door count together, and
strangers leave minutes."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

from redis import Redis

from tests.lab.sites import PATIENT, Site, start_site
from tidings.store.keys import FIRST_VISIT_S, READER

STRANGERS, ONE_READER, OTHERS = "127.0.0.2", "127.0.0.3", "127.0.0.4"


def get(
    site: Site, path: str, address: str, signed: str = ""
) -> tuple[int, http.client.HTTPMessage]:
    """One request on a connection of its own, from that address."""
    door = http.client.HTTPConnection(
        site.settings.gateway.bind, timeout=60, source_address=(address, 0)
    )
    try:
        door.request("GET", path, headers={"X-Reader": signed} if signed else {})
        answer = door.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        door.close()


def test_a_sites_workers_count_together_and_strangers_leave_minutes(
    tmp_path: Path, redis_url: str, redis_client: Redis
) -> None:
    limits: dict[str, Any] = {
        "gateway_limit_window_s": 600,
        "gateway_limit_feed": 10,
        "gateway_limit_address_times": 3,
        "gateway_limit_new_readers": 5,
    }
    with start_site(tmp_path, redis_url=redis_url, gateway_workers=2, **limits, **PATIENT) as site:
        site.wait_until_ready()

        told = [get(site, "/articles?article_num=100", STRANGERS) for _ in range(40)]
        assert [status for status, _ in told] == [200] * 30 + [429] * 10
        given = [headers["X-Reader"] for _, headers in told if headers["X-Reader"]]
        assert len(given) == 5
        assert int(told[-1][1]["Retry-After"]) > 0
        assert told[-1][1]["Content-Type"] == "application/problem+json"

        signed = given[0]
        reader_id = int(signed.partition(".")[0])
        first: Any = redis_client.ttl(READER.of(reader_id))
        assert 0 < first <= FIRST_VISIT_S
        told = [get(site, "/articles", ONE_READER, signed) for _ in range(14)]
        assert [status for status, _ in told] == [200] * 10 + [429] * 4
        assert told[0][1]["RateLimit-Policy"] == '"reader";q=10;w=600, "address";q=30;w=600'
        later: Any = redis_client.ttl(READER.of(reader_id))
        assert later > 24 * 3600
        assert get(site, "/articles", OTHERS, given[1])[0] == 200
        assert get(site, "/channels", STRANGERS)[0] == 200
