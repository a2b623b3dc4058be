"""An extra is installed or not, by what the installation says of itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from tidings.process import extras
from tidings.process.extras import missing_of


def test_what_is_installed_is_not_missing() -> None:
    assert missing_of("train") == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        if name in ("lightgbm", "duckdb"):
            raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", find)
    assert missing_of("train") == ["duckdb", "lightgbm"]


def test_an_extra_that_is_not_there_needs_nothing() -> None:
    assert missing_of("trai") == []
