"""A site's database is opened ready for use, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.conftest import MakeSettings
from tidings.store.opening import open_database
from tidings.store.schema import SchemaError


def test_a_database_with_the_right_schema_is_opened(
    make_settings: MakeSettings, sqlite_url: str
) -> None:
    """What comes back is ready to be used."""
    engine = open_database(make_settings(database_url=sqlite_url))
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM article")).scalar() == 0
    engine.dispose()


def test_a_database_without_any_schema_is_refused(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """An empty file is not a site; no program creates tables by accident."""
    (tmp_path / "empty.db").touch()
    with pytest.raises(SchemaError, match="revision none"):
        open_database(make_settings(database_url=f"sqlite:///{tmp_path}/empty.db"))
