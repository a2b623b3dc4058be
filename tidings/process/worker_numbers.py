"""Which of its process's workers the running code is: a small number, free again once that worker
is dead.

prometheus_client keeps what each process has counted in files named after its process id, and
counters for ever: a worker that dies every few seconds would fill the disk. Named after the number,
the next worker goes on counting where the dead one stopped, and there are never more files than
there were workers at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import multiprocess, values

from tidings.process.logs import share_metrics_between_workers
from tidings.process.settings import Settings

MASTER = 0
_mine = MASTER


def share_metrics(settings: Settings, process: str, bind: str) -> Path:
    """Let the numbered workers of the `process` on `bind` add up their metrics.

    Call it before importing a module that has some.

    Raises:
        CannotStartError: such a process runs already.
    """
    folder = share_metrics_between_workers(settings, process, bind)
    values.ValueClass = values.MultiProcessValue(process_identifier=my_number)  # type: ignore[no-untyped-call]
    return folder


def my_number() -> int:
    """0 in the master, and wherever there is none."""
    return _mine


def take_number(number: int) -> None:
    """In a new worker: be `number` from here on."""
    global _mine  # noqa: PLW0603 - it is this process's identity, and set once, right after the fork
    _mine = number


def forget_worker(number: int) -> None:
    """What a dead worker counted still counts; what it held is gone."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(number)  # type: ignore[no-untyped-call]
