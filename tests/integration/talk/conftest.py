"""Talk on SQLite and on MariaDB."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.lab.talk import Talk


@pytest.fixture
def talk(engine: Engine) -> Talk:
    return Talk(engine)
