"""Tables for people: whole on any terminal and in any pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tidings.commands.printing import print_rows, print_table

REPOSITORY = Path(__file__).parents[2]
NAMES = ("job", "next", "about")
ROW = (
    "overdue_orders",
    "2026-11-27 03:43:00Z",
    "Alarm about orders that should have expired a minute ago.",
)


def print_on_terminal(columns: int) -> list[str]:
    """The lines that a terminal of that width gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    code = (
        f"from tidings.commands.printing import print_table; print_table({NAMES!r}, [{ROW!r}, "
        "('a', '', '')])"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, env=env, stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        return (screen.read(10_000) or b"").decode().splitlines()


def test_a_pipe_gets_each_row_in_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(NAMES, [ROW, ("a", "", ""), ("b" * 200, "c" * 200, "d" * 200)])

    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == [*NAMES]
    assert [cell.strip() for cell in first.split("  ") if cell] == [*ROW]
    assert second == "a"
    assert third.split() == ["b" * 200, "c" * 200, "d" * 200]


def test_on_a_wide_terminal_columns_stand_below_their_names() -> None:
    head, first, _ = print_on_terminal(200)

    assert [head.index(name) for name in NAMES] == [first.index(cell) for cell in ROW]


def test_on_a_narrow_terminal_no_name_is_cut_off() -> None:
    head, first, *about, last = print_on_terminal(40)

    assert head.split() == ["job", "next"]
    assert first == "overdue_orders  2026-11-27 03:43:00Z"
    assert " ".join(line.strip() for line in about) == ROW[2]
    assert all(line.startswith("    ") and len(line) <= 40 for line in about)
    assert last == "a"


def test_what_is_shown_cannot_move_the_cursor_or_break_a_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error's text may come from anywhere."""
    print_table(("id", "error"), [("1", "two\nlines\tand \x1b[2Jan escape"), ("二", "wide")])

    assert capsys.readouterr().out == "id  error\n1   two lines and [2Jan escape\n二  wide\n"


def test_rows_are_a_table_for_people_and_a_line_each_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows: list[dict[str, object]] = [
        {"id": 1, "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "by": None},
        {"id": 2},
    ]

    print_rows(rows[:1], as_json=False)
    assert capsys.readouterr().out.split() == ["id", "at", "by", "1", "2026-01-02", "03:04:05Z"]
    print_rows(rows, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"id": 1, "at": "2026-01-02T03:04:05Z", "by": None}, {"id": 2}]


def test_nothing_is_said_to_people_and_not_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], as_json=False)
    assert capsys.readouterr().out == "nothing to show\n"
    print_rows([], as_json=True)
    assert capsys.readouterr().out == ""
