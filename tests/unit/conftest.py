"""Unit tests use no server, which is what keeps `make test-unit` a loop one can wait for."""

from __future__ import annotations

from typing import NoReturn

import pytest


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """An SQLite file of one's own, with the newest schema; other databases are integration tests'
    business."""
    return sqlite_url


@pytest.fixture(scope="session")
def mariadb() -> NoReturn:
    pytest.fail("a unit test uses no server; this test belongs in tests/integration")


@pytest.fixture(scope="session")
def redis_server() -> NoReturn:
    pytest.fail("a unit test uses no server; this test belongs in tests/integration")
