"""The most that a peer may make this process hold in memory, far above what the structs need.

Thrift's own defaults are sixteen times as much for a message, and no limit for a container, so that
one integer of a peer's allocates gigabytes.

    limits = Limits(message_bytes=64 * 1024)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one message, and of one string and one container within it."""

    message_bytes: int = 1024 * 1024
    string_bytes: int = 64 * 1024
    container_items: int = 4096
