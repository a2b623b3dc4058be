"""How every process starts: settings, a folder to write in, and logs. Or one line and exit code 2.

A process that cannot do its work must say so at start, in words an operator can act on, and not
with a traceback or with its first reader. So whatever prevents a start raises `CannotStartError`,
and `start` prints it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tidings.process.errors import EXIT_CANNOT_START, PREFIX, CannotStartError
from tidings.process.logs import configure_logging
from tidings.process.settings import Settings, load_settings


def start(process: str, run: Callable[[Settings], int]) -> int:
    """Read the settings, set up logging, and `run`; returns the exit code of the process."""
    try:
        settings = load_settings()
        prepare_var_dir(settings)
        configure_logging(settings, process)
        return run(settings)
    except CannotStartError as ex:
        print(f"{process}: {ex}", file=sys.stderr)
        return EXIT_CANNOT_START


def prepare_var_dir(settings: Settings) -> None:
    """Make the folder for run-time files.

    Raises:
        CannotStartError: nothing can be written there.
    """
    try:
        settings.site.var_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.site.var_dir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as ex:
        raise CannotStartError(
            f"{PREFIX}VAR_DIR: cannot write in {settings.site.var_dir.absolute()}: {ex.strerror}"
        ) from None
