"""A listener that writes down what it is told."""

from __future__ import annotations

from typing import Any

import msgspec

from services.chat.closing import Closing
from services.chat.framing import frame_message
from services.chat.sse import payload_of
from tidings.readers.keys import Role


class Recorder:
    """A connection of a reader; what it was told, decoded, is `told`."""

    def __init__(self, reader_id: int, *, role: Role | None = None) -> None:
        self.reader_id = reader_id
        self.role = role
        self.key_id: int | None = None
        self.told: list[dict[str, Any]] = []
        self.closed: list[Closing] = []

    def push(self, framed: bytes) -> None:
        self.told.append(msgspec.json.decode(payload_of(framed)))

    def say(self, message: msgspec.Struct) -> None:
        self.push(frame_message(message))

    def close(self, closing: Closing, retry_after_ms: int | None = None) -> None:
        del retry_after_ms
        self.closed.append(closing)

    def seqs(self) -> list[int]:
        """The numbers of the events that it was told."""
        return [said["seq"] for said in self.told if "seq" in said]
