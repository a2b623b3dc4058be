"""The static job that trains: a program of its own, since its memory and its crashes must not be
the daemon's.

    STATIC_JOBS = (StaticJob("training", "30 4 * * *", train, executor="long"),)
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import tempfile
import time

from jobs.static.context import JobFailedError, Routine, Run

TRAINING_TIMEOUT_S = 6 * 3600
STOP_S = 5
SHOWN_BYTES = 2000


def train(run: Run) -> str:
    """Run TRAINING_COMMAND as a process of its own: its memory and its crashes stay there."""
    command = shlex.split(run.context.settings.jobs.training_command)
    if not command:
        return Routine("no TRAINING_COMMAND is set")
    give_up_at = time.monotonic() + TRAINING_TIMEOUT_S
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - an operator's setting, split as a shell would, run without one
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as ex:
            raise JobFailedError(f"{command[0]}: {ex.strerror}") from ex
        while process.poll() is None:
            if run.context.stopping.wait(0.2) or time.monotonic() > give_up_at:
                _end(process)
                raise JobFailedError("training was stopped before its end")
        output.seek(max(output.tell() - SHOWN_BYTES, 0))
        last = output.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise JobFailedError(f"{command[0]} exited with {process.returncode}: {last}")
    return last.rpartition("\n")[2] or "trained"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
