"""End-to-end tests talk to whole processes, over the network, as readers and clients do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.lab.servers import RedisServer, start_redis
from tests.lab.sites import PATIENT, Reader, Site, start_site

StartSite = Callable[..., AbstractContextManager[Site]]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo site, for every test that leaves it as it was: each comes as a new reader, and kills
    nothing."""
    with (
        start_redis() as redis,
        start_site(tmp_path_factory.mktemp("site"), redis_url=redis.url, **PATIENT) as running,
    ):
        running.wait_until_ready()
        yield running


@pytest.fixture
def visitor(site: Site) -> Reader:
    """A new anonymous reader of `site`."""
    return site.reader()


@pytest.fixture
def new_site(tmp_path: Path, redis_server: RedisServer, redis_url: str) -> StartSite:
    """A site of one's own, to break: `with new_site("--no-demo", card_ttl_s=2) as site:
    site.wait_until_ready()`."""
    return partial(start_site, tmp_path, redis_url=redis_url, **PATIENT)
