"""What a static job is given to work with, and what it answers.

Collaborators arrive as arguments, so every job runs in a test.

    def rebuild(run: Run) -> str:
        run.context.engine ...
        return Routine("rankings rebuilt")
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from dataclasses import dataclass, field
from datetime import datetime

from redis import Redis
from sqlalchemy import Engine

from tidings.process.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The daemon's collaborators, and whether it has been asked to stop."""

    engine: Engine
    redis: Redis
    settings: Settings
    owner: str
    stopping: threading.Event = field(default_factory=threading.Event)


class JobFailedError(Exception):
    """A job's own way to say that it did not succeed, with a message fit for the history."""


class Routine(str):
    """The summary of a run that has nothing to tell: it stands in the history, and in the log at
    debug level, so that a job of every minute does not push everything else away."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One firing of a static job: its context and the moment it stands for, on the database's
    clock."""

    context: Context
    slot: datetime
    now: datetime


def make_owner_name() -> str:
    """A name for this process that no other start of it, here or elsewhere, will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
