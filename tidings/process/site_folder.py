"""Finds the site that a command is about, from any folder.

A site is a folder `var/` with its files, and beside that perhaps a `.env` with its settings. The
first of these that is there is the site:

1. the one that `--site` names, with the `.env` beside it;
2. the one that `TIDINGS_VAR_DIR` names;
3. the current folder, if it has a `.env` with settings of ours or a `var/` with a site, or if
   `TIDINGS_DATABASE_URL` names a database that needs no folder;
4. the nearest folder above that has either, of this user or of root: anybody may put files into
   /tmp;
5. the one that this installation started last;
6. the one beside the program, as in a clone.

Otherwise there is none, and a new one is made in `./var`; in `/` and where nothing can be written,
in the user's data folder. Rejected: only ever `./var`, by which a command that is typed in another
folder makes a second, empty site and answers from that.

    site = find_site()
    site.var_dir, site.env_file
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from tidings.process.errors import PREFIX, CannotStartError

ENV_FILE = ".env"
VAR_DIR = "var"
# The folder that holds this program: a clone, or where pip puts wheels.
PROGRAM = Path(__file__).parents[2]
SIGNS_OF_A_SITE = ("secret_keys", "tidings.db", "redis")
# The kernel takes 107 bytes for the path of a socket; some programs count the end as well.
MAX_SOCKET_BYTES = 100


@dataclass(frozen=True, slots=True)
class SiteFolder:
    """Where a site is.

    Attributes:
        home: the folder of its `.env`; relative paths in that are relative to `home`.
        var_dir: the folder for its files, unless the `.env` names another.
    """

    home: Path
    var_dir: Path

    @property
    def env_file(self) -> Path:
        return self.home / ENV_FILE


_named: SiteFolder | None = None


def name_site(folder: str) -> None:
    """From now on this process is about the site in `folder`, or in the `var/` inside it.

    Raises:
        CannotStartError: it is not a folder.
    """
    global _named  # noqa: PLW0603 - the one choice of a whole command, made before anything runs
    given = Path(folder).absolute()
    if given.exists() and not given.is_dir():
        raise CannotStartError(f"--site: {given} is not a folder")
    var_dir = given if is_site(given) else _var_dir_in(given)
    home = given if (given / ENV_FILE).is_file() else var_dir.parent
    _named = SiteFolder(home, var_dir)
    os.environ[f"{PREFIX}VAR_DIR"] = str(var_dir)


def find_site() -> SiteFolder:
    """The site of this process, whether it was made already or not."""
    if _named is not None:
        return _named
    here = SiteFolder(Path(), Path(VAR_DIR))
    var_dir = os.environ.get(f"{PREFIX}VAR_DIR")
    if var_dir:
        beside = Path(var_dir).parent
        is_beside = not here.env_file.is_file() and (beside / ENV_FILE).is_file()
        return SiteFolder(beside if is_beside else here.home, Path(var_dir))
    if f"{PREFIX}DATABASE_URL" in os.environ or _is_home(here.home):
        return here
    return next(_elsewhere(), None) or _new_site(here)


def record_site(site: SiteFolder) -> None:
    """Remember the site for commands of this installation that are typed in other folders. A home
    that cannot be written is no reason not to start."""
    with suppress(OSError):
        path = _record()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.write_text(f"{site.home.absolute()}\n{site.var_dir.absolute()}\n")
        fresh.replace(path)


def is_site(var_dir: Path) -> bool:
    """True if there is anything in this folder that only a site has."""
    try:
        return any((var_dir / sign).exists() for sign in SIGNS_OF_A_SITE)
    except OSError:
        return False


def read_env_file(path: Path) -> Mapping[str, str | None]:
    """The settings in a `.env`; none if there is no such file.

    Raises:
        CannotStartError: it is not text.
    """
    try:
        return dotenv_values(path)
    except UnicodeDecodeError as ex:
        raise CannotStartError(
            f"{path.absolute()} is not UTF-8 text: {ex.reason} at byte {ex.start + 1}"
        ) from None


def redis_socket(var_dir: Path) -> Path:
    """Where the site's own Redis listens: beside its data, or, if that path is too long for a
    socket, in a folder of the site's own under the runtime or temporary directory.

    A link beside the data then leads there, for a process that has another idea of those. In a copy
    of a site the link leads to the site that was copied, so only one that bears this site's name is
    followed.
    """
    path = var_dir.absolute() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_BYTES:
        return path
    name = f"tidings-{hashlib.sha256(os.fsencode(var_dir.resolve())).hexdigest()[:16]}"
    with suppress(OSError):
        linked = path.readlink()
        if linked.parent.name == name:
            return linked
    bases = (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")  # noqa: S108 - the folder in it is checked before use
    paths = [Path(base) / name / path.name for base in bases if base]
    return next((found for found in paths if len(os.fsencode(found)) <= MAX_SOCKET_BYTES), paths[0])


def _var_dir_in(home: Path) -> Path:
    """The site inside `home`: where its `.env` says, or in `var/`; if there is neither, `home`."""
    stated = read_env_file(home / ENV_FILE).get(f"{PREFIX}VAR_DIR")
    if stated:
        return home / stated
    return home / VAR_DIR if is_site(home / VAR_DIR) else home


def _elsewhere() -> Iterator[SiteFolder]:
    with suppress(OSError):
        for folder in Path.cwd().parents:
            if _is_ours(folder) and _is_home(folder):
                yield SiteFolder(folder, folder / VAR_DIR)
    with suppress(OSError, ValueError):
        home, var_dir = map(Path, _record().read_text().splitlines())
        if var_dir.is_dir():
            yield SiteFolder(home, var_dir)
    if _is_home(PROGRAM):
        yield SiteFolder(PROGRAM, PROGRAM / VAR_DIR)


def _is_home(folder: Path) -> bool:
    if is_site(folder / VAR_DIR):
        return True
    try:
        return any(key.startswith(PREFIX) for key in read_env_file(folder / ENV_FILE))
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    found = [path for path in (folder / ENV_FILE, folder / VAR_DIR) if path.exists()]
    return all(path.stat().st_uid in (os.geteuid(), 0) for path in found)


def _new_site(here: SiteFolder) -> SiteFolder:
    if Path.cwd() != Path("/") and os.access(here.home, os.W_OK):
        return here
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    home = Path(base) / "tidings"
    return SiteFolder(home, home / VAR_DIR)


def _record() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    installation = hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]
    return Path(base) / "tidings" / f"site-{installation}"
