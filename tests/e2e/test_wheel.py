"""The program as pip installs it: a wheel, in a virtual environment outside the clone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.servers import find_program, wait_until
from tests.lab.sites import PATIENT, start_site

ROOT = Path(__file__).parent.parent.parent
INSTALL_TIMEOUT_S = 900


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The `tidings` of a wheel that was built from the work tree as it is."""
    source, wheels, venv = tmp_path / "source", tmp_path / "wheels", tmp_path / "venv"
    listed = run(
        find_program("git"), "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        f"--wheel-dir={wheels}", str(source),
    )  # fmt: skip
    shutil.rmtree(source)
    run(sys.executable, "-m", "venv", str(venv))
    (wheel,) = wheels.iterdir()
    locked = str(ROOT / "requirements" / "run.txt")
    python = str(venv / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", f"--requirement={locked}")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
    return venv / "bin" / "tidings"


def run(*command: str) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(INSTALL_TIMEOUT_S + 600)
def test_a_wheel_runs_the_whole_site_from_the_root_folder(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that is no Python: pages, styles, scripts, templates, migrations and the example.
    `/` has a `var` that is no site's, so the site is made in the user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    command = ["sh", "-c", f"cd / && exec {installed} up"]
    with start_site(tmp_path, command=command, **PATIENT) as site:
        site.wait_until_ready()
        var_dir = tmp_path / "data" / "tidings" / "var"
        reader = site.reader()
        page = reader.get("/")
        linked = re.findall(r'(?:src|href)="(/[^"#?]+\.(?:css|js|svg))"', page.body.decode())
        statuses = {path: reader.get(path).status for path in (*linked, "/docs", "/openapi.json")}
        cards = reader.get("/articles?channel_id=0").json["results"]
        wait_until((var_dir / "site" / "index.html").exists, 60, "the static pages")
        from_elsewhere = subprocess.run(
            [installed, "products", "list"],
            env=site.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert site.stop() == 0

    assert page.status == 200
    assert linked
    assert set(statuses.values()) == {200}, statuses
    assert len(cards) == 10
    assert f"site {var_dir}, a new one" in site.output
    assert "Traceback" not in site.output
    assert "EUR" in from_elsewhere.stdout
    assert site.survivors() == []
