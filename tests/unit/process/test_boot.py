"""What prevents a start is one line and exit code 2; a fault of the program is a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeSettings
from tidings.process.boot import (
    prepare_var_dir,
    start,
)
from tidings.process.errors import EXIT_CANNOT_START, SettingsError
from tidings.process.settings import Settings


def test_start_turns_what_prevents_it_into_a_line_and_a_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a process raises for not being able to start is printed for its operator, once, on
    stderr."""
    monkeypatch.setenv("TIDINGS_VAR_DIR", str(tmp_path / "var"))

    def run(settings: Settings) -> int:
        assert settings.site.var_dir == tmp_path / "var"
        raise SettingsError("TIDINGS_X: not like this")

    assert start("chat", run) == EXIT_CANNOT_START
    assert capsys.readouterr() == ("", "chat: TIDINGS_X: not like this\n")


def test_start_returns_what_the_process_returns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exit code of the process's own goes through, and the folder for its files is there before
    it runs."""
    monkeypatch.setenv("TIDINGS_VAR_DIR", str(tmp_path / "new" / "var"))

    assert start("chat", lambda settings: 7 if settings.site.var_dir.is_dir() else 1) == 7


def test_start_does_not_hide_a_fault_of_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bug is not a setting: its traceback is what the people who mend it need."""
    monkeypatch.setenv("TIDINGS_VAR_DIR", str(tmp_path))

    with pytest.raises(ZeroDivisionError):
        start("chat", lambda _: 1 // 0)


def test_the_folder_for_files_is_left_as_it_was_found(make_settings: MakeSettings) -> None:
    """Looking whether one can write leaves nothing behind, and a folder that is there already is no
    trouble."""
    settings = make_settings()
    prepare_var_dir(settings)
    prepare_var_dir(settings)

    assert list(settings.site.var_dir.iterdir()) == []
