"""A wire to MariaDB that is cut at COMMIT: before the server hears of it, or after it has
committed, unanswered.

Killing connections at random hardly ever falls between a commit and its answer; this does nothing
else.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from contextlib import suppress
from typing import Self

COMMIT = b"\x07\x00\x00\x00\x03COMMIT"
CHANCE = 0.05


class CommitCutter:
    """Listens on `port` and passes on to `target_port` what comes, but for some commits while it is
    `cutting`."""

    def __init__(self, target_port: int, rng: random.Random) -> None:
        self.port = 0
        self.cuts: Counter[str] = Counter()
        self.cutting = False
        self._target_port = target_port
        self._random = rng
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cutter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(60)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._carry, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(to_server)
            answers = asyncio.create_task(self._pass_answers(from_server, writer))
            await self._pass_queries(reader, to_server, answers)
            answers.cancel()
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, and with it the other
        finally:
            for end in ends:
                with suppress(OSError):
                    end.transport.abort()

    async def _pass_queries(
        self,
        reader: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        while query := await reader.read(65536):
            if self.cutting and query == COMMIT and self._random.random() < CHANCE:
                if self._random.random() < 0.5:
                    self.cuts["before"] += 1
                    return
                answers.cancel()
                await asyncio.wait([answers])
                self.cuts["after"] += 1
                to_server.write(query)
                await to_server.drain()
                # Long enough for the server to have done it; that nobody hears of it is the point.
                await asyncio.sleep(0.05)
                return
            to_server.write(query)
            await to_server.drain()

    async def _pass_answers(
        self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while answer := await from_server.read(65536):
                writer.write(answer)
                await writer.drain()
        writer.transport.abort()
