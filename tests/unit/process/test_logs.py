"""Logs that machines and people can read, request ids that do no harm, and metrics of forked
workers added up."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeSettings
from tidings.process.logs import accept_request_id, configure_logging, name_in_every_line


@pytest.fixture
def logged(
    make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., list[Any]]]:
    """Sets logging up as a process does, runs something, and returns the JSON objects that it wrote
    to stderr."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("alembic").level)

    def run(act: Callable[[], object], **settings: Any) -> list[Any]:
        configure_logging(make_settings(**{"log_format": "json"} | settings), "tests")
        act()
        written = capsys.readouterr()
        assert written.out == ""
        return [json.loads(line) for line in written.err.splitlines()]

    yield run
    root.handlers[:], level, alembic = before
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(alembic)


def test_a_line_is_one_json_object_with_all_that_is_known(logged: Callable[..., list[Any]]) -> None:
    """Event, level, moment in UTC, process, and all that was bound to the request, newlines and
    all."""

    def act() -> None:
        with structlog.contextvars.bound_contextvars(request_id="r1"):
            structlog.get_logger("a").info("two\nlines ✓", channel_id=10)

    (line,) = logged(act)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", line.pop("timestamp"))
    expected = {
        "event": "two\nlines ✓",
        "level": "info",
        "process": "tests",
        "request_id": "r1",
        "channel_id": 10,
    }
    assert expected == line


def test_a_thread_says_which_process_it_belongs_to(logged: Callable[..., list[Any]]) -> None:
    """Its context is empty, as a greenlet's is."""

    def write() -> None:
        structlog.get_logger("a").info("of structlog")
        logging.getLogger("library").warning("of a library")

    def act() -> None:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    assert [line["process"] for line in logged(act)] == ["tests", "tests"]


def test_a_worker_names_itself_in_every_line(
    logged: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the name of the process."""
    monkeypatch.setattr("tidings.process.logs._in_every_line", {})

    def act() -> None:
        name_in_every_line(worker=2)
        structlog.get_logger("a").info("here")

    (line,) = logged(act)
    assert (line["process"], line["worker"]) == ("tests", 2)


def test_a_librarys_own_records_have_the_same_form(logged: Callable[..., list[Any]]) -> None:
    """What standard logging says comes out as JSON too, with the request it belongs to, and its
    exception."""

    def act() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            logging.getLogger("library").exception("it %s", "failed")

    (line,) = logged(act)

    assert (line["event"], line["level"], line["process"]) == ("it failed", "error", "tests")
    assert "KeyError: 'inner'" in line["exception"]


def test_what_is_below_the_level_is_not_written(logged: Callable[..., list[Any]]) -> None:
    """The least level holds for structlog and for libraries alike."""

    def act() -> None:
        for write in (structlog.get_logger("a"), logging.getLogger("library")):
            write.info("not this")
            write.warning("this")

    assert [line["event"] for line in logged(act, log_level="warning")] == ["this", "this"]


def test_setting_up_twice_writes_each_line_once(logged: Callable[..., list[Any]]) -> None:
    """A worker that is forked sets logging up again; its lines must not double."""
    logged(lambda: None)

    assert len(logged(lambda: structlog.get_logger("a").info("once"))) == 1


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{1,70}"))
def test_a_callers_request_id_is_taken_only_if_it_can_do_no_harm(candidate: str) -> None:
    """It ends up in SQL comments, log lines and headers: letters, digits, `_` and `-`, or a new
    one."""
    accepted = accept_request_id(candidate)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", accepted)
    assert (accepted == candidate) == bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", candidate))


@pytest.mark.parametrize("candidate", [None, "", "a b", "*/ DROP TABLE", "id\n", "é", "x" * 65])
def test_a_bad_or_absent_request_id_is_replaced_by_a_new_one(candidate: str | None) -> None:
    """Sixteen hexadecimal digits, different each time."""
    made = {accept_request_id(candidate) for _ in range(3)}

    assert len(made) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}", id_) for id_ in made)
