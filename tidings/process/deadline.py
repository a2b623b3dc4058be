"""How long the work at hand may still take: set once at the door, asked by everything behind it.

A deadline is a point on the monotonic clock, so a corrected wall clock changes nothing; it travels
between processes as the milliseconds that are left. It lives in a context variable, because SQL and
Redis calls deep inside a rule must respect it and no rule should have to pass it along.

    with deadline_scope(Deadline.after_ms(500)):
        current_deadline()
"""

from __future__ import annotations

import time
from contextvars import ContextVar


class DeadlineExceededError(Exception):
    """There is no time left; the caller has stopped waiting, or is about to."""


class Deadline(float):
    """A moment on the monotonic clock, in seconds.

    PERF: every call makes two; this class is made without running Python.
    """

    __slots__ = ()

    @classmethod
    def after_ms(cls, budget_ms: float) -> Deadline:
        return cls(time.monotonic() + budget_ms / 1000)

    def remaining_ms(self) -> float:
        """Milliseconds left; negative once it has passed."""
        return (self - time.monotonic()) * 1000

    def check(self) -> None:
        """Raises:
        DeadlineExceededError: it has passed.
        """
        if self.remaining_ms() <= 0:
            raise DeadlineExceededError("the deadline has passed")


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


# PERF: where a call or a `with` block costs too much; the code that sets one resets it.
get_current_deadline, set_current_deadline, reset_current_deadline = (
    _current.get,
    _current.set,
    _current.reset,
)


def current_deadline() -> Deadline | None:
    """The deadline of the work at hand; None where none was set, as in a job."""
    return _current.get()


class deadline_scope:  # noqa: N801 - used as a function; PERF: a generator costs five times as much, on every call
    """Make `deadline` the current one inside the block."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: Deadline | None) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._token = _current.set(self._deadline)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
