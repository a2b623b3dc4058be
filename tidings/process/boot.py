"""How every process starts: settings, a folder to write in, and logs. Or one line and exit code 2.

A process that cannot do its work must say so at start, in words an operator can act on, and not
with a traceback or with its first reader. So all that prevents a start raises `CannotStartError`,
and `start` prints it.

    take_no_arguments("gateway", __doc__)
    sys.exit(start("gateway", run))
"""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path

from tidings.process.errors import EXIT_CANNOT_START, PREFIX, CannotStartError
from tidings.process.logs import configure_logging
from tidings.process.settings import Settings, load_settings
from tidings.process.site_folder import is_site

# Of VAR_DIR: a web server passes through to pages and pictures, and lists nothing.
PASSABLE = 0o711
PUBLIC = ("site", "images")
PRIVATE = (
    "secret_keys",
    "tidings.db*",
    "redis",
    "import",
    "metrics",
)


def start(process: str, run: Callable[[Settings], int]) -> int:
    """Read the settings, set up logging, and `run`; returns the exit code of the process."""
    try:
        settings = load_settings()
        _refuse_no_site(settings)
        prepare_var_dir(settings)
        configure_logging(settings, process)
        return run(settings)
    except CannotStartError as ex:
        print(f"{process}: {ex}", file=sys.stderr)
        return EXIT_CANNOT_START


def take_no_arguments(module: str, about: str | None) -> None:
    """Answer `--help` with what the program is, and refuse every other argument.

    A program takes its settings from the environment alone; an argument that is silently dropped is
    a setting that an operator believes in.

    Args:
        module: the program is `python -m` this.
        about: what it is and does.
    """
    argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=about,
        epilog=f"It takes no arguments. Its settings are the environment variables {PREFIX}*, also "
        "read from a file .env; `tidings settings` prints them all with what they mean.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def prepare_var_dir(settings: Settings) -> None:
    """Make the folder for run-time files, and see that other users read nothing of it but the
    static pages and pictures.

    Raises:
        CannotStartError: nothing can be written there.
    """
    var_dir = settings.site.var_dir
    try:
        if not var_dir.exists():
            var_dir.mkdir(parents=True)
            var_dir.chmod(PASSABLE)
        probe = var_dir / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as ex:
        # On a full disk nothing can be written, and all can be read.
        if ex.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise CannotStartError(
                f"{PREFIX}VAR_DIR: cannot write in {var_dir.absolute()}: {ex.strerror}"
            ) from None
    _make_private(var_dir)


def _refuse_no_site(settings: Settings) -> None:
    if {"var_dir", "database_url"} & settings.given or settings.site.var_dir.is_dir():
        return
    raise CannotStartError(
        f"there is no site in {settings.site.var_dir.absolute()}: name one by {PREFIX}VAR_DIR, or "
        "make this one: run `tidings up`"
    )


def _make_private(var_dir: Path) -> None:
    """Also where an earlier version made the files. What belongs to another user is left alone, and
    so is a folder that is more than a site's, such as /tmp."""
    if is_site(var_dir) and not var_dir.stat().st_mode & stat.S_ISVTX:
        _change_mode(var_dir, PASSABLE)
    for name in PUBLIC:
        _change_mode(var_dir / name, 0o755)
    for found in chain.from_iterable(map(var_dir.glob, PRIVATE)):
        for path in (found, *found.rglob("*")):
            _change_mode(path, 0o700 if path.is_dir() else 0o600)


def _change_mode(path: Path, mode: int) -> None:
    with suppress(OSError):
        found = path.lstat()
        is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
        if is_plain and stat.S_IMODE(found.st_mode) != mode:
            path.chmod(mode)
