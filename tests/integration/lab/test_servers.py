"""The suite's own servers: they keep their promises to the tests that kill them, and never outlive
the suite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pymysql
import pytest
import redis

from tests.lab.servers import ServerError, find_program, start_mariadb, start_redis, wait_until

ROOT = Path(__file__).parent.parent.parent.parent
START_AND_HANG = """
import threading
from tests.lab.servers import start_redis
with start_redis() as server:
    print(server.pid, flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_server_dies_with_the_suite_however_that_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Left-over servers would hold memory and ports on people's machines."""
    suite = subprocess.Popen(
        [sys.executable, "-c", START_AND_HANG],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert suite.stdout is not None
    pid = int(suite.stdout.readline())
    assert psutil.pid_exists(pid)

    suite.send_signal(number)
    suite.wait(60)

    wait_until(lambda: not psutil.pid_exists(pid), 10, "the server to end")
    suite.stdout.close()


def test_in_the_background_of_a_script_children_can_be_interrupted() -> None:
    """Trap: a shell starts `make test &` with SIGINT ignored, and a child that inherits that cannot
    be told to stop; the suite itself goes on ignoring what it was told to ignore."""
    tell = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    suite = (
        "import os, signal, subprocess, sys; "
        "from tests.lab.servers import let_children_be_interrupted; "
        "let_children_be_interrupted(); os.kill(os.getpid(), signal.SIGINT); "
        f"subprocess.run([sys.executable, '-c', {tell!r}])"
    )
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", suite],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_a_server_may_be_restarted_from_a_thread_that_ends() -> None:
    """Trap: "die with your parent" means the thread that started you, on Linux."""
    with start_redis() as server:
        thread = threading.Thread(target=server.restart)
        thread.start()
        thread.join()

        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_a_killed_redis_keeps_what_it_was_told_to_keep() -> None:
    with start_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"


def test_a_killed_mariadb_keeps_what_it_committed() -> None:
    """No fsync, yet a commit that was confirmed survives the server's death; only the machine's
    would lose it."""
    with start_mariadb() as server:
        name = server.new_database().rpartition("/")[2]
        server.execute(
            f"CREATE TABLE {name}.ledger (n INT)", f"INSERT INTO {name}.ledger VALUES (1), (2)"
        )
        server.restart()

        assert server.execute(f"SELECT n FROM {name}.ledger ORDER BY n") == ((1,), (2,))
        server.stop()
        with pytest.raises(pymysql.OperationalError):
            server.execute("SELECT 1")


def test_a_missing_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The test that needs it fails, and says what to install."""
    monkeypatch.setattr("tests.lab.servers.SYSTEM_PACKAGES", tmp_path / "system.txt")
    (tmp_path / "system.txt").write_text("# command package\nno-such-program  some-package\n")

    with pytest.raises(ServerError, match="some-package"):
        find_program("no-such-program")


def test_a_server_that_does_not_start_shows_its_log() -> None:
    with pytest.raises(ServerError, match="no-such-option"), start_redis("--no-such-option", "1"):
        pass
