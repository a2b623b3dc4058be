"""Laws of the house that neither the linter nor the type checker sees; who may import whom is
import-linter's part."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("tidings", "gateway", "services", "jobs")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

IMPORT_EVERYTHING = """
import importlib, socket, subprocess, sys, threading

def refuse(*_args, **_kwargs):
    raise AssertionError("done at import time")

socket.socket.connect = socket.socket.bind = refuse
subprocess.Popen.__init__ = threading.Thread.start = refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return dict(line.partition(" ;")[0].split("==") for line in lines)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_package_on_disk_is_installed() -> None:
    """Trap: an editable install finds a package that a real one leaves out."""
    on_disk = {
        relative(path.parent).replace("/", ".").removeprefix("gen-py.")
        for package in (*PACKAGES, "gen-py/tidings_idl")
        for path in (ROOT / package).rglob("__init__.py")
    }

    assert set(setup_cfg()["options"]["packages"].split()) == on_disk


def test_every_module_opens_with_why() -> None:
    """What it is for and what was decided: there is no other record of decisions."""
    texts = {relative(path): path.read_text() for path in MODULES}

    assert [
        name
        for name, text in texts.items()
        if text.strip() and not ast.get_docstring(ast.parse(text))
    ] == []


def imported_names() -> set[str]:
    """Every module that another one imports."""
    names: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return names


def docstring(path: Path) -> str:
    """As it is written: cleaned, it would lose the indentation that it has throughout."""
    return ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""


def test_every_module_that_others_use_shows_how() -> None:
    """One short example in its docstring, indented as code. A table of columns is its own."""
    imported = imported_names()
    used = [
        path
        for path in MODULES
        if relative(path.with_suffix("")).replace("/", ".") in imported
        and not path.stem.startswith("_")
        and not path.stem.endswith("tables")
        and "migrations" not in path.parts
    ]
    shown = re.compile(r"\n\n    \S")

    assert len(used) > 100
    assert [relative(path) for path in used if not shown.search(docstring(path))] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [relative(path) for path in MODULES if VAGUE & {path.stem, path.parent.name}] == []


def test_nothing_connects_or_starts_at_import_time() -> None:
    """Trap: what is opened at import time is opened before the fork, and then shared by every
    worker."""
    names = [
        relative(path.with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in MODULES
    ]
    # Alembic imports its own files, in its own context; a `__main__` is there to start things.
    importable = [
        name for name in names if ".migrations" not in name and not name.endswith(".__main__")
    ]

    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, *importable],
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_every_process_adds_its_commands() -> None:
    """A command whose module cannot be imported would break `tidings --help` for all the others."""
    commands = {entry.name: entry.load() for entry in entry_points(group="tidings.commands")}

    assert set(commands) == {line.split()[0] for line in entry_point_lines()}


def entry_point_lines() -> list[str]:
    return setup_cfg()["options.entry_points"]["tidings.commands"].strip().splitlines()


@pytest.mark.parametrize("name", ["run", "dev", "bench"])
def test_lock_files_name_versions_and_nothing_else(name: str) -> None:
    """No index, no local path: an installation uses the index of its own machine. Where there is no
    wheel of a package, a marker says so."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    form = re.compile(r"[a-z0-9.-]+==[a-zA-Z0-9.+!]+( ; python_version < .*)?")

    assert lines
    assert not [line for line in lines if not form.fullmatch(line)]


def test_what_running_needs_is_locked_within_its_range() -> None:
    """`setup.cfg` says what may be used, `requirements/run.txt` what is; `make lock` after changing
    either."""
    run = locked("run")
    for line in setup_cfg()["options"]["install_requires"].strip().splitlines():
        requirement = Requirement(line)
        assert Version(run[requirement.name.lower()]) in requirement.specifier, line
    assert "setuptools" in run, "`make install` builds with the locked one"


def needed_by(lines: Iterable[str], extras: set[str]) -> list[Requirement]:
    """Those of the requirements that concern this machine."""
    return [
        needed
        for needed in map(Requirement, lines)
        if needed.marker is None
        or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""})
    ]


def test_what_running_needs_in_turn_is_locked() -> None:
    """Trap: a development environment has what only a fresh clone misses, such as what the gevent
    worker of gunicorn imports and gunicorn alone does not ask for."""
    run, seen = locked("run"), set[str]()
    waiting = needed_by(setup_cfg()["options"]["install_requires"].strip().splitlines(), set())
    while waiting:
        needed = waiting.pop()
        assert re.sub("[._]", "-", needed.name.lower()) in run, f"{needed}: run `make lock`"
        if str(needed) not in seen:
            seen.add(str(needed))
            waiting += needed_by(requires(needed.name) or [], needed.extras)


@pytest.mark.parametrize("name", ["dev", "bench"])
def test_the_lock_files_agree(name: str) -> None:
    """They end up in one environment."""
    run = locked("run")

    assert {
        package: version
        for package, version in locked(name).items()
        if run.get(package, version) != version
    } == {}


def test_no_test_is_ever_skipped() -> None:
    """A missing server or program is a failure that names its package; a skip is a test that is
    never run."""
    escapes = re.compile(r"(?:pytest\.|mark\.)(?:skip|skipif|importorskip|xfail)\b")
    found = [
        relative(path)
        for path in (ROOT / "tests").rglob("*.py")
        if escapes.search(path.read_text())
    ]

    assert found == []


def test_every_benchmark_that_make_offers_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    names = dict(re.findall(r"^(BENCHES|FAULTS) := (.*)$", makefile, re.MULTILINE))
    modules = [name.replace("-", "_") for name in names["BENCHES"].split()]
    modules += [f"faults_{name}" for name in names["FAULTS"].split()]

    programs = {path.stem for path in (ROOT / "bench").glob("*.py")}
    programs |= {path.parent.name for path in (ROOT / "bench").glob("*/__main__.py")}
    assert set(modules) - programs == set()
