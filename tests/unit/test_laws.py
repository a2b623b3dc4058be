"""The laws of the house hold for folders, so that code which does not exist yet is under them: what
breaks one is planted in a copy of the tree, and the linter is asked.

Who may import whom stands in setup.cfg; these tests see that nothing is left out there.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("tidings", "gateway", "services", "jobs")
LAYERS = "A room knows only the rooms below it"
# Above the rules stand those who run them; what calls a server, or holds no code, is no rule.
WITHOUT_RULES = {"client", "commands", "http", "rpc", "web"}

NOUN = {
    "tidings/accounts/__init__.py": "",
    "tidings/accounts/signing_in.py": (
        "import socket\nimport falcon\nfrom tidings.commands.main import main\n"
    ),
}
PLANTED = {
    **NOUN,
    "tidings/news/planted.py": "from tidings.shop.tables import orders\n",
    "tidings/process/planted.py": "from thrift.transport.TTransport import TMemoryBuffer\n",
    "tidings/store/planted.py": "from jobs.tables import job_run\n",
    "tidings/client/odd.py": "from tidings.store.engine import make_engine\n",
    "tidings/store/migrations/versions/9999_planted.py": "import tidings.news.tables\n",
    "services/recommender/planted.py": "from gateway.app import create_app\n",
    "gateway/resources/planted.py": "from gateway.feed.planted import x\n",
    "gateway/feed/planted.py": "from gateway.resources.planted import y\n",
}
REFUSED = {
    LAYERS: "tidings.accounts is not allowed to import tidings.commands",
    "Business rules run without a server": "tidings.accounts is not allowed to import falcon",
    "Of the nouns, only reading knows another": "tidings.news.planted -> tidings.shop.tables",
    "The tables of tidings/shop are asked through its functions": "tidings.news.planted",
    "The tables of jobs/ are the daemon's own": "tidings.store.planted",
    "Only the wire and its two ends touch Thrift": "tidings.process.planted",
    "What every process shares imports no process": "tidings is not allowed to import jobs",
    "The client needs nothing of the site it calls": "tidings.client.odd -> tidings.store.engine",
    "A migration knows no table as it is today": "9999_planted",
    "A process never imports another process": "services.recommender.planted -> gateway.app",
    "No circle of imports": "No cycles are allowed in gateway",
}


def contracts() -> dict[str, dict[str, str]]:
    """The contracts of setup.cfg by their names."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return {
        config[section]["name"]: dict(config[section])
        for section in config.sections()
        if section.startswith("importlinter:contract:")
    }


def folders(package: str) -> set[str]:
    return {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}


def lint(tree: Path) -> str:
    """What import-linter says of a tree in which it finds something to refuse."""
    command = (
        "import sys; sys.path[:0] = ['.', 'gen-py']\n"
        "from importlinter.cli import lint_imports_command\n"
        "lint_imports_command(['--no-logo', '--no-cache'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def plant(tree: Path, files: dict[str, str], setup_cfg: str) -> str:
    for package in (*PACKAGES, "gen-py"):
        ignored = shutil.ignore_patterns("__pycache__", "*.html", "*.js", "*.css", "*.jsonl")
        shutil.copytree(ROOT / package, tree / package, ignore=ignored)
    for name, text in files.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text)
    (tree / "setup.cfg").write_text(setup_cfg)
    return lint(tree)


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """On a tree with a module that breaks each law, where the new noun has been given its place."""
    text = (ROOT / "setup.cfg").read_text()
    text = text.replace("    news : ", "    accounts : news : ")
    text = text.replace("    tidings.demo\n", "    tidings.accounts\n    tidings.demo\n")
    return plant(tmp_path_factory.mktemp("planted"), PLANTED, text)


@pytest.mark.parametrize("name", REFUSED)
def test_what_breaks_a_law_is_refused(verdict: str, name: str) -> None:
    broken = verdict.partition("Broken contracts")[2]
    section = re.search(
        rf"^{re.escape(name)}\n-+\n(.*?)(?=\n[^\n]+\n-{(5,)}\n|\Z)", broken, re.M | re.S
    )

    assert section, verdict
    assert REFUSED[name] in section[1]


def test_a_folder_on_no_layer_is_refused(tmp_path: Path) -> None:
    """A room is given its place before anything is put into it."""
    said = plant(tmp_path, NOUN, (ROOT / "setup.cfg").read_text())

    assert f"{LAYERS} BROKEN" in said
    assert "accounts" in said.partition("Broken contracts")[2]


def test_each_law_is_broken_by_something_planted() -> None:
    """The tests above test every law that there is. Those of other tables are written alike."""
    alike = {name for name in contracts() if name.startswith("The table")}

    assert set(contracts()) - alike == set(REFUSED) - alike
    assert alike & set(REFUSED)


def test_every_room_with_rules_runs_without_a_server() -> None:
    sources = contracts()["Business rules run without a server"]["source_modules"].split()

    assert {f"tidings.{name}" for name in folders("tidings") - WITHOUT_RULES} == set(sources)


def test_every_table_belongs_to_its_folder() -> None:
    """`tables.py` is imported from its own folder; a process asks the noun."""
    names = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*tables.py")
    }
    owners = {
        contract["protected_modules"].strip(): contract["allowed_importers"].strip()
        for contract in contracts().values()
        if contract["type"] == "protected" and "tables" in contract["protected_modules"]
    }

    assert {name: name.rpartition(".")[0] for name in names} == owners


def test_every_process_is_independent_of_the_others() -> None:
    processes = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for package in ("gateway", "services", "jobs")
        for path in (ROOT / package).rglob("__main__.py")
    }

    listed = contracts()["A process never imports another process"]["modules"].split()
    assert processes == set(listed)
