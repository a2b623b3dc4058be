"""A node of the chat that writes down when it commits which message: `python -m bench.chat_node
FILE`.

A line is the moment, in nanoseconds of the clock that all processes of a machine share, and the
cids that were committed then.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

# First of all, since it patches what others import.
from services.chat.__main__ import run  # isort: skip
from sqlalchemy import Engine

from tidings.process.boot import start
from tidings.talk import outbox

CID = re.compile(rb'"cid":"([^"]+)"')


def main() -> None:
    """Serve until SIGTERM."""
    file = open(sys.argv[1], "ab", buffering=0)  # noqa: SIM115 - as long as the process
    telling = outbox.telling

    def stamping(engine: Engine, tell: Callable[[outbox.Posted], object]) -> Engine:
        def stamp(posted: outbox.Posted) -> None:
            at = str(time.monotonic_ns()).encode()
            frames = b"".join(entry.frame for entry in posted.entries)
            file.write(b" ".join([at, *CID.findall(frames)]) + b"\n")
            tell(posted)

        return telling(engine, stamp)

    outbox.telling = stamping
    sys.exit(start("chat", run))


if __name__ == "__main__":
    main()
