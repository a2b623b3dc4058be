"""Which packages of an optional extra are not installed here, by what this installation says of
itself.

    missing_of("train")  # ["duckdb", "lightgbm"], or [] where `pip install 'tidings[train]'` ran

Rejected: a list in code of what an extra holds, beside the one in `setup.cfg`.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def missing_of(extra: str) -> list[str]:
    """The packages of this extra that are not installed, by name."""
    marker = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    needed = [text for text in requires("tidings") or () if marker.search(text)]
    names = [found[0] for text in needed if (found := _NAME.match(text))]
    return sorted(name for name in names if not _is_installed(name))


def how_to_install(extra: str) -> str:
    """What to type for this extra, into the environment that this program runs in."""
    return (
        f"`make install-{extra}` in a clone of Tidings, or "
        f"`{sys.executable} -m pip install 'tidings[{extra}]'`"
    )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
