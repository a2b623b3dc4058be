"""The first minutes after a clone: `make run` in an empty folder, with the embedded stores and the
example."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.servers import find_program
from tests.lab.sites import PATIENT, Site, start_site

ROOT = Path(__file__).parent.parent.parent
INSTALL_TIMEOUT_S = 900


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that a commit of the work tree as it is would hold."""
    listed = subprocess.run(
        [find_program("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    folder = tmp_path / "clone"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@contextmanager
def make_run(clone: Path) -> Iterator[Site]:
    # Nobody names a Redis, so it brings its own.
    with start_site(clone, command=["make", "--no-print-directory", "run"], **PATIENT) as site:
        yield site


@pytest.mark.long
@pytest.mark.timeout(INSTALL_TIMEOUT_S + 600)
def test_a_fresh_clone_serves_a_feed_and_one_ctrl_c_ends_it_all(clone: Path) -> None:
    """Nothing but Python is there: no virtual environment, no database, no Redis, no data."""
    with make_run(clone) as site:
        site.wait_until_ready(INSTALL_TIMEOUT_S)
        first = site.reader().get("/articles?channel_id=0")
        site.stop()
        survivors = site.survivors()

    assert first.status == 200
    assert len({card["article_id"] for card in first.json["results"]}) == 10
    assert survivors == []
    assert "Traceback" not in site.output

    with make_run(clone) as site:
        site.wait_until_ready()
        second = site.reader().get("/articles?channel_id=0")
        site.stop()

    assert len(second.json["results"]) == 10
    assert "Installing" not in site.output
    assert "this site has articles, none were added" in site.output


def test_an_old_python_is_refused_with_the_version_that_is_needed(
    clone: Path, tmp_path: Path
) -> None:
    """Not a syntax error from the depths of some dependency."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo Python 3.9.2; exit 0; }\nexit 1\n')
    old.chmod(0o755)

    done = subprocess.run(
        ["make", "run", f"PYTHON={old}"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "Tidings needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr


def test_a_python_without_venv_is_refused_with_the_package_that_brings_it(
    clone: Path, tmp_path: Path
) -> None:
    """Trap: Debian's python3 can import `venv` and cannot make one."""
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n')
    bare.chmod(0o755)

    done = subprocess.run(
        ["make", "run", f"PYTHON={bare}"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "python3-venv" in done.stderr


def test_what_make_is_told_stays_out_of_the_builds_that_pip_runs(clone: Path) -> None:
    """Trap: a package without a wheel is built by a Makefile of its own, which read our options as
    its own and failed."""
    done = subprocess.run(
        ["make", "--no-print-directory", "--eval", "probe: ; @echo $${MAKEFLAGS-nothing}", "probe"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "nothing\n"


def test_missing_programs_are_named_with_their_packages_where_they_cannot_be_installed(
    clone: Path, tmp_path: Path
) -> None:
    """`make test` on a machine where this user is not root and sudo asks for a password."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "grep", "sort", "dirname"):
        (tools / name).symlink_to(find_program(name))
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "id").chmod(0o755)
    (clone / "requirements" / "system.txt").write_text(
        "no-such-program  some-package\nbash  bash\n"
    )

    done = subprocess.run(
        [str(clone / "scripts" / "install-system-packages")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "apt-get install --no-install-recommends some-package" in done.stderr
