"""A job run by Debian's own cron: by the minute, and once, although two lines of the crontab ask
for it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from jobs.tables import job_run
from tests.lab.servers import ServerError, find_program, spawn, wait_until
from tidings.process.errors import PREFIX

TIDINGS = Path(sys.executable).with_name("tidings")
CRON_D = Path("/etc/cron.d")
# cron reads fixed paths. In a mount namespace of its own they are folders of this test's, so that
# it runs nothing else of this machine's; an own process namespace ends with cron whatever cron has
# started.
IN_ITS_OWN_WORLD = """
set -e
mount --bind "$0/spool" /var/spool/cron
mount --bind "$0/cron.d" /etc/cron.d
mount --bind "$0/run" /run
mount --bind "$0/crontab" /etc/crontab
exec "$1" -f
"""
ISOLATE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@contextmanager
def cron(crontab: str, folder: Path) -> Iterator[None]:
    """A cron that has these lines.

    Raises:
        ServerError: this user may not start one; it changes users, so only root may.
    """
    if os.geteuid() != 0:
        raise ServerError("cron starts for root alone: run this test as root")
    program = find_program("cron")
    if subprocess.run([*ISOLATE, "true"], capture_output=True, check=False).returncode == 0:
        for name in ("spool/crontabs", "cron.d", "run"):
            (folder / name).mkdir(parents=True)
        (folder / "crontab").write_text(crontab)
        (folder / "crontab").chmod(0o644)
        command = [*ISOLATE, "sh", "-c", IN_ITS_OWN_WORLD, str(folder), program]
        installed = None
    else:
        # A container that may not isolate: there cron has its usual paths. If one runs already, it
        # reads this as well, and the second one ends at once.
        command = [program, "-f"]
        installed = CRON_D / f"tidings-test-{os.getpid()}"
        installed.write_text(crontab)
        installed.chmod(0o644)
    started = spawn(command)
    try:
        yield
    finally:
        if installed:
            installed.unlink()
        started.kill()
        started.wait()


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_cron_runs_a_job_once_although_two_lines_ask_for_it(
    database_url: str,
    engine: Engine,
    redis_url: str,
    environment: Callable[..., dict[str, str]],
    tmp_path: Path,
) -> None:
    env = environment(database_url=database_url, redis_url=redis_url)
    variables = [
        f"export {key}={shlex.quote(value)}" for key, value in env.items() if key.startswith(PREFIX)
    ]
    script = tmp_path / "books"
    script.write_text(
        "\n".join(["#!/bin/sh", *variables, f'{TIDINGS} jobs run books; echo "exit $?"', ""])
    )
    script.chmod(0o755)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    lines = [f"* * * * * root {script} > {log} 2>&1\n" for log in logs]

    with cron("".join(lines), tmp_path):
        wait_until(
            lambda: all(log.exists() and "exit" in log.read_text() for log in logs),
            130,
            "cron to run both",
        )

    first, second = sorted(
        (log.read_text() for log in logs), key=lambda told: "Z: done" not in told
    )
    assert "Z: done" in first
    assert "exit 0" in first
    assert "Z: done" not in second, "the job was run twice"
    with engine.connect() as conn:
        runs = conn.execute(
            select(job_run.c.state, job_run.c.attempt).where(job_run.c.job == "books")
        ).all()
    assert runs == [("done", 1)]
