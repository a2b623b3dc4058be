"""What a client tells the program around it, and what it asks of it.

A program of ours counts every call with prometheus_client and logs with structlog; a program that
only wants a feed has neither, and should not have to load them. So a client speaks to an observer,
and this one keeps nothing; `tidings.rpc.calling.metrics` has the one that our processes give.
Rejected: looking at run time whether those packages are there; then a call would count or not by
what else has been imported.

    client = make_client(UserRecommend, endpoints, policy=Policy(), caller="reports")
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

_log = logging.getLogger(__name__)


class Heap(Protocol):
    """Takes what is appended to it."""

    def append(self, item: float, /) -> None: ...


class Observer:
    """Keeps nothing. Its methods are called on every call, from any thread."""

    def request_id(self) -> str | None:
        """The request id of the work at hand: 1 to 64 letters, digits, `_` or `-`; None: make
        one."""
        return None

    def called(self, method: str, outcome: str, took_s: float, /) -> None:
        """A call has ended, its retry included."""

    def retried(self, method: str) -> None:
        """A call is tried a second time."""

    def attempted(self, endpoint: str, outcome: str) -> None:
        """One attempt has not come to an answer."""

    def answers_of(self, endpoint: str) -> Heap:
        """Where one number is to be appended for each attempt that has come to an answer.

        PERF: of these there are as many as calls, and a method of an observer's costs ten times as
        much.
        """
        return deque(maxlen=0)

    def ejected(self, endpoint: str) -> None:
        """An endpoint is left alone for a while."""

    def not_resolved(self, endpoint: str, ex: OSError) -> None:
        """The addresses of a host name could not be had; those that were known are kept."""
        _log.warning("rpc_endpoint_not_resolved: %s: %s", endpoint, ex)

    def opened(self) -> None:
        """There is one connection more."""

    def closed(self, reason: str) -> None:
        """There is one connection less."""


SILENT = Observer()
