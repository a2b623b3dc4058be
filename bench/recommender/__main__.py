"""How good the recommender is, and what it costs: `make bench-recommender`.

Each file beside this one measures a part, and says in `measure()` what it found. A part that fails,
or whose data set is not there, is told at the end and the others stand; the exit code is then 1.
Rejected: one program for everything, which the first fault would end after nine minutes.

    python -m bench.recommender           every part: the table, and var/bench/recommender.json;
                                          FULL=1 takes more seeds and all questions
    python -m bench.recommender taste     these parts only; writes nothing
"""

from __future__ import annotations

import json
import os
import pkgutil
import platform
import sys
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

import bench.recommender as package
from bench.recommender.data import MissingDataError
from bench.recommender.figures import FIGURES

OUTPUT = Path("var/bench/recommender.json")
PACKAGES = ("numpy", "sqlalchemy", "redis", "thrift")
# Not a part.
FRAME = {"__main__", "data", "figures"}


def main(parts: list[str]) -> int:
    """Measure, print, write; the exit code."""
    started = time.monotonic()
    known = [module.name for module in pkgutil.iter_modules(package.__path__)]
    chosen = parts or [name for name in known if name not in FRAME]
    figures: dict[str, float] = {}
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for part in chosen:
        print(f"{part} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            found: Mapping[str, float] = import_module(f"bench.recommender.{part}").measure()
            figures |= found
        except MissingDataError as ex:
            failed[part] = str(ex)
        except Exception as ex:  # noqa: BLE001 - the other parts stand; told below, exit code 1
            traceback.print_exc()
            failed[part] = repr(ex)
        seconds[part] = round(time.monotonic() - began, 1)
    show(figures, is_whole=not parts)
    if not parts:
        write(figures, failed, seconds=seconds, started=started)
    for part, reason in failed.items():
        print(f"{part}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def show(figures: Mapping[str, float], *, is_whole: bool) -> None:
    """The table for people: what is meant first, then what else was found."""
    table = Table("figure", "value", "bar", "aim", "reached", "", show_edge=False)
    for name, meant in FIGURES.items():
        if name in figures:
            value = figures[name]
            bar, aim = meant.show(meant.bar), meant.show(meant.aim)
            table.add_row(name, f"{value:.4g}", bar, aim, meant.judge(value), meant.label)
        elif is_whole:
            bar, aim = meant.show(meant.bar), meant.show(meant.aim)
            table.add_row(name, "not measured", bar, aim, "", meant.label)
    for name in sorted(figures.keys() - FIGURES.keys()):
        table.add_row(name, f"{figures[name]:.4g}")
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def write(
    figures: Mapping[str, float],
    failed: Mapping[str, str],
    *,
    seconds: Mapping[str, float],
    started: float,
) -> None:
    """All figures as one flat object, with the machine they are of."""
    about = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        "load_1m": os.getloadavg()[0],
        "seconds": round(time.monotonic() - started),
        "seconds_by_part": seconds,
        "is_full": bool(os.environ.get("FULL")),
        "failed": failed,
    }
    rounded = {name: round(value, 5) for name, value in figures.items()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(rounded | {"_about": about}, indent=2) + "\n")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
