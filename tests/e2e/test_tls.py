"""A site whose recommender and gateway trust no peer without a certificate."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.authority import Authority
from tests.lab.servers import wait_until
from tests.lab.sites import Site
from tidings.client import TidingsClient, TransportFaultError

StartSite = Callable[..., AbstractContextManager[Site]]


def test_a_feed_comes_over_tls_and_nobody_else_is_answered(
    new_site: StartSite, tmp_path: Path
) -> None:
    """The gateway's feed is personal, so it came by RPC; who has no certificate, or another's, gets
    nothing."""
    files = replace(Authority(tmp_path).sign("recommender"), name="recommender")
    stranger = Authority(tmp_path, "another").sign("stranger")
    settings = {
        f"recommender_tls_{name}": getattr(files, name) for name in ("cert", "key", "ca", "name")
    }
    with new_site(**settings) as site:
        site.wait_until_ready()
        reader = site.reader()
        wait_until(
            lambda: reader.get("/articles").json["served_from"] == "personal", 20, "a personal feed"
        )
        endpoint = site.settings.recommender.bind

        with TidingsClient(endpoint, tls=files, timeout_ms=20_000) as tidings:
            assert len(tidings.feed(user_id=reader.reader_id).articles) == 10
        for tls in (None, replace(stranger, ca=files.ca)):
            with TidingsClient(endpoint, tls=tls) as refused, pytest.raises(TransportFaultError):
                refused.is_ready()
