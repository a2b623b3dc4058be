"""The audit log on both databases: what it tells, in which order, and for how long."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from sqlalchemy import Engine, update

from tidings.editing import audit
from tidings.editing.acting import shell_actor
from tidings.editing.tables import audit as audit_table
from tidings.store.engine import transaction


def note(engine: Engine, *noun_ids: int, noun: str = "article", actor: str = "shell:ada") -> None:
    with transaction(engine) as conn:
        for noun_id in noun_ids:
            audit.note(conn, actor, "edit", noun, noun_id, before={"n": 1}, after={"n": noun_id})


def find(engine: Engine, **which: object) -> list[int | None]:
    options: dict[str, object] = {"limit": 10} | which
    with engine.connect() as conn:
        return [entry.noun_id for entry in audit.find_entries(conn, **options)]  # type: ignore[arg-type]


def test_an_entry_says_who_did_what_when_and_by_which_request(engine: Engine) -> None:
    started = datetime.now(UTC)
    with structlog.contextvars.bound_contextvars(request_id="r-1"), transaction(engine) as conn:
        audit.note(
            conn, "key:ada", "edit", "article", 4, after={"title": "🗞️ 𠜎"}, reader_id=2**51 + 1
        )

    with engine.connect() as conn:
        (entry,) = audit.find_entries(conn, limit=10)

    assert abs(entry.at - started) < timedelta(minutes=1)
    assert entry[2:] == (
        "key:ada", 2**51 + 1, "edit", "article", 4, None, {"title": "🗞️ 𠜎"}, "r-1"
    )  # fmt: skip


def test_entries_are_found_by_what_they_are_about_newest_first(engine: Engine) -> None:
    """And page after page, by the number of the last one seen."""
    note(engine, 1, 2, 3)
    note(engine, 1, noun="channel", actor="key:ben")

    assert find(engine) == [1, 3, 2, 1]
    assert find(engine, nouns={"article"}) == [3, 2, 1]
    assert find(engine, nouns={"article"}, noun_id=1) == find(engine, actor="key:ben") == [1]
    assert find(engine, verb="delete") == find(engine, nouns=set()) == []
    with engine.connect() as conn:
        first = audit.find_entries(conn, limit=2)
        rest = audit.find_entries(conn, limit=10, before_id=first[-1].entry_id)
    assert [entry.noun_id for entry in rest] == [2, 1]


def test_only_age_takes_an_entry_away(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part in each transaction, so that no reader waits."""
    monkeypatch.setattr(audit, "MOST_PRUNED", 2)
    note(engine, 1, 2, 3, 4)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with transaction(engine) as conn:
        old = audit_table.c.noun_id < 4
        conn.execute(update(audit_table).where(old).values(at=long_ago))
    pruned = []
    for _ in range(3):
        with transaction(engine) as conn:
            pruned.append(audit.prune(conn, long_ago + timedelta(days=1)))

    assert pruned == [2, 1, 0]
    assert find(engine) == [4]


def test_at_the_shell_the_user_of_the_system_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its number, where a container's user has no name."""

    def nameless() -> str:
        raise OSError("no username set in the environment")

    assert shell_actor().name == f"shell:{getpass.getuser()}"
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert shell_actor().name.removeprefix("shell:").isdigit()
