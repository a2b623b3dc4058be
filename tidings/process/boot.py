"""How every process starts: settings, a folder to write in, and logs. Or one line and exit code 2.

A process that cannot do its work must say so at start, in words an operator can act on, and not
with a traceback or with its first reader. So whatever prevents a start raises `CannotStartError`,
and `start` prints it.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing

from tidings.process.logs import configure_logging
from tidings.process.settings import PREFIX, CannotStartError, Settings, load_settings, split_bind

EXIT_CANNOT_START = 2


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
        settings.var_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.var_dir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as ex:
        raise CannotStartError(
            f"{PREFIX}VAR_DIR: cannot write in {settings.var_dir.absolute()}: {ex.strerror}"
        ) from None


def check_bind(key: str, bind: str) -> None:
    """Raises: CannotStartError: the address cannot be listened on. `key` is the setting it came
    from, without prefix.
    """
    if bind.startswith("unix:"):
        return
    host, port = split_bind(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as ex:
            raise cannot_bind(key, bind, ex) from None


def cannot_bind(key: str, bind: str, ex: OSError) -> CannotStartError:
    """What to tell an operator about an address that could not be had."""
    reason = (
        "another program listens there" if ex.errno == errno.EADDRINUSE else ex.strerror or str(ex)
    )
    return CannotStartError(f"{PREFIX}{key}: cannot listen on {bind}: {reason}")
