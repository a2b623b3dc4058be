"""The static job that trains: a program of its own, since its memory and its crashes must not be
the daemon's.

It is `tidings train` where the extra `[train]` is installed, and a set TRAINING_COMMAND in its
place. Rejected: training within the daemon, whose memory would never be given back.

    STATIC_JOBS = (StaticJob("training", "30 4 * * *", train, executor="long"),)
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from jobs.static.context import JobFailedError, Routine, Run
from tidings.process.errors import PREFIX
from tidings.process.extras import how_to_install, missing_of
from tidings.process.settings import Settings

EXTRA = "train"
TRAINING_TIMEOUT_S = 6 * 3600
STOP_S = 5
SHOWN_BYTES = 2000
# `tidings train` ends so where there is too little to learn from, which is no failure.
TOO_LITTLE = os.EX_NOINPUT


def train(run: Run) -> str:
    """Train what ranks and proposes articles, as a process of its own; TRAINING_COMMAND replaces
    it."""
    settings = run.context.settings
    command = shlex.split(settings.jobs.training_command)
    if command:
        status, last = _run(run, command, os.environ)
    elif missing := missing_of(EXTRA):
        return Routine(
            f"nothing is trained without {', '.join(missing)}: {how_to_install(EXTRA)}; "
            "readers are served by the hand blend"
        )
    else:
        command = [sys.executable, "-m", "tidings.commands.main", "train"]
        status, last = _run(run, command, _environment_of(settings))
        if status == TOO_LITTLE:
            return Routine(last.rpartition("\n")[2])
    if status != 0:
        raise JobFailedError(f"{command[0]} exited with {status}: {last}")
    return last.rpartition("\n")[2] or "trained"


def _environment_of(settings: Settings) -> Mapping[str, str]:
    """The daemon's own, with the site named, so that no other one is found."""
    return os.environ | {
        f"{PREFIX}VAR_DIR": str(settings.site.var_dir.absolute()),
        f"{PREFIX}DATABASE_URL": settings.database.url,
    }


def _run(run: Run, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a command, and the last that it printed."""
    give_up_at = time.monotonic() + TRAINING_TIMEOUT_S
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - an operator's setting, split as a shell would, run without one
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as ex:
            raise JobFailedError(f"{command[0]}: {ex.strerror}") from ex
        while process.poll() is None:
            if run.context.stopping.wait(0.2) or time.monotonic() > give_up_at:
                _end(process)
                raise JobFailedError("training was stopped before its end")
        output.seek(max(output.tell() - SHOWN_BYTES, 0))
        return process.returncode, output.read().decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
