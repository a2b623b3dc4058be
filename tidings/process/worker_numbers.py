"""Which of its process's workers the running code is: a small number, free again once that worker
is dead.

Logs and metrics name a worker by it. Named after the process id, a worker that dies every few
seconds would leave a file of metrics each time; named after the number, the next worker goes on
counting where the dead one stopped, and there are never more files than there were workers at once.

    take_number(free_number(worker.number for worker in living))    # in the new worker
"""

from __future__ import annotations

from collections.abc import Iterable

MASTER = 0
_mine = MASTER


def my_number() -> int:
    """0 in the master, and wherever there is none."""
    return _mine


def take_number(number: int) -> None:
    """In a new worker: be `number` from here on."""
    global _mine  # noqa: PLW0603 - it is this process's identity, and set once, right after the fork
    _mine = number


def free_number(taken: Iterable[int]) -> int:
    """The least number that no living worker has."""
    living = {MASTER, *taken}
    return next(number for number in range(len(living) + 1) if number not in living)
