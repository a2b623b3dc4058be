"""One conversation in a terminal: what is said appears, in order and once, and each line that is
typed is sent.

    python chat.py SITE CONVERSATION

SITE as http://127.0.0.1:8000; CONVERSATION a number, or `desk`. Who you are: CHAT_READER, as the
header X-Reader said it, or CHAT_KEY; without either a new reader, whose name is printed. Nothing
but the package `websockets`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

TIMEOUT_S = 10.0
FIRST_S, MOST_S = 1.0, 30.0
STABLE_S = 10.0  # a connection that lasted so long starts the back-off anew
PACE_S = 0.15  # the server's limit is 10 messages/s
MOST_FRAME_BYTES = 16384  # the server closes a socket over a longer one
# After these a client that came back would meet the same again. After all others it comes back,
# with a new ticket each time.
NEVER = {1000, 1002, 1003, 1007, 1009, 4400, 4409}


def comes_back(code: int) -> bool:
    return code not in NEVER


def back_off_s(attempt: int) -> float:
    """Full jitter: any part of a limit that doubles."""
    limit_s = min(MOST_S, FIRST_S * 2 ** min(attempt, 10))
    return random.uniform(0, limit_s)  # noqa: S311 - it spreads clients, and hides nothing


class RefusedError(Exception):
    """The site answered with a problem.

    Args:
        status: HTTP's.
        title: what the problem says.
        kind: what it is called, as `message-too-long`; empty if it came from something in between.
        retry_after_s: when the site would be asked again; None if it does not say.
    """

    def __init__(self, status: int, title: str, kind: str, retry_after_s: float | None) -> None:
        super().__init__(title)
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s

    @property
    def passes(self) -> bool:
        """A site that is away, a slow line and a minute's limit do; a day's quota, which is 429 as
        well, does not soon."""
        is_limit = self.status == 429 and self.kind != "enough-for-today"
        return self.status >= 500 or self.status == 408 or is_limit


class Site:
    """The site over HTTP, as one reader."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rest = ""
        key, reader = os.environ.get("CHAT_KEY"), os.environ.get("CHAT_READER")
        self.headers = {"Authorization": f"Bearer {key}"} if key else {"X-Reader": reader or ""}

    async def ask(self, address: str, method: str = "GET", body: Any = None) -> Any:
        return await asyncio.to_thread(self._ask, address, method, body)

    def _ask(self, address: str, method: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        # S310 in both lines: the address is the one that this program was started with.
        request = urllib.request.Request(  # noqa: S310
            address, data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                said = json.load(answer)
                if self.headers.get("X-Reader") == "" and answer.headers["X-Reader"]:
                    self.headers["X-Reader"] = answer.headers["X-Reader"]
                    say(f"reader {self.headers['X-Reader']}")
                return said
        except urllib.error.HTTPError as ex:
            try:
                problem = json.load(ex)
                title, kind = problem["title"], problem["type"].partition("#")[2]
            except (ValueError, KeyError):  # it came from something in between
                title, kind = ex.reason, ""
            retry_after = ex.headers["Retry-After"] or ""
            wait_s = float(retry_after) if retry_after.isdecimal() else None
            raise RefusedError(ex.code, title, kind, wait_s) from None


class Chat:
    """One conversation, over as many connections as it takes."""

    def __init__(self, site: Site, conversation: int | None) -> None:
        self.site = site
        self.conversation = conversation
        self.pos: str | None = None
        self.printed = 0
        self.early: dict[int, dict[str, Any]] = {}  # what came before its turn
        self.waiting: deque[dict[str, Any]] = deque()  # typed and not acknowledged
        self.something_typed = asyncio.Event()
        self.is_over = False
        self.retry_after_s: float | None = None

    async def run(self) -> int:
        """Until everything typed was sent, or the server says not to come back; the exit code."""
        attempt = 0
        while True:
            began_s = time.monotonic()
            try:
                code = await self.connect()
            except RefusedError as ex:
                if not ex.passes:
                    say(f"stopped: {ex}")
                    return 1
                code = 1006
                self.retry_after_s = ex.retry_after_s
            except (OSError, InvalidHandshake):
                code = 1006
            if self.is_over and not self.waiting:
                return 0
            if time.monotonic() - began_s >= STABLE_S:
                attempt = 0
            if not comes_back(code):
                say(f"stopped {code}")
                return 1
            say(f"waiting {code}")
            pause_s = back_off_s(attempt) if self.retry_after_s is None else self.retry_after_s
            self.retry_after_s = None
            await asyncio.sleep(pause_s)
            attempt += 1

    async def connect(self) -> int:
        """One connection, from its ticket to its close code."""
        offer = await self.site.ask(f"{self.site.url}/reader/chat-ticket", "POST")
        self.site.rest = offer["rest"]
        async with connect(offer["url"], compression=None) as wire:
            hello = {"type": "hello", "ticket": offer["ticket"]}
            await wire.send(json.dumps(hello | ({"pos": self.pos} if self.pos else {})))
            sending = None
            try:
                async for text in wire:
                    frame = json.loads(text)
                    if frame["type"] == "welcome":
                        await self.welcomed(frame)
                        sending = asyncio.create_task(self.send(wire))
                    await self.hear(frame)
                    # Only now, and not before a replay has come: what breaks off in between is
                    # asked for again.
                    if "pos" in frame and not frame.get("recovered"):
                        self.pos = frame["pos"]
            except ConnectionClosed:
                pass
            finally:
                if sending is not None:
                    sending.cancel()
        return wire.close_code or 1006

    async def welcomed(self, frame: dict[str, Any]) -> None:
        say(f"open {frame['reader_id']} {'recovered' if frame['recovered'] else 'anew'}")
        if self.conversation is None:
            made = await self.site.ask(f"{self.site.rest}/conversations", "POST", {"kind": "desk"})
            self.conversation = made["conversation_id"]
        if not frame["recovered"]:
            await self.catch_up()

    async def hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "message" if frame["conversation_id"] == self.conversation:
                self.show(frame)
                if frame["seq"] > self.printed:
                    await self.catch_up()
            case "reset":
                await self.catch_up()
            case "bye":
                self.retry_after_s = frame["retry_after_ms"] / 1000
            case "ack" | "error" if self.waiting and frame.get("cid") == self.waiting[0]["cid"]:
                await self.answered(frame)

    async def answered(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error" and frame["code"] == "unavailable":
            await asyncio.sleep(frame.get("retry_after_ms", 2000) / 1000)
        else:
            self.waiting.popleft()
            say(f"sent {frame['seq']}" if frame["type"] == "ack" else f"refused {frame['code']}")
        self.something_typed.set()

    async def send(self, wire: ClientConnection) -> None:
        """One after another: the next one once the one before it was answered."""
        self.something_typed.set()
        while True:
            await self.something_typed.wait()
            self.something_typed.clear()
            if self.waiting:
                frame = {"type": "send", "conversation_id": self.conversation, **self.waiting[0]}
                text = json.dumps(frame)  # ASCII: as many bytes as characters
                if len(text) <= MOST_FRAME_BYTES:
                    await wire.send(text)
                else:
                    await self.answered(await self.post(self.waiting[0]))
                await asyncio.sleep(PACE_S)
            elif self.is_over:
                await wire.close()

    async def post(self, message: dict[str, Any]) -> dict[str, Any]:
        """By REST, what is too long for a frame; its answer as a frame."""
        address = f"{self.site.rest}/conversations/{self.conversation}/messages"
        try:
            return {"type": "ack", **await self.site.ask(address, "POST", message)}
        except RefusedError as ex:
            code = "unavailable" if ex.passes else ex.kind or str(ex)
            return {"type": "error", "code": code, "retry_after_ms": (ex.retry_after_s or 2) * 1000}
        except OSError:
            return {"type": "error", "code": "unavailable"}

    async def catch_up(self) -> None:
        """Print everything after what was printed, page by page."""
        path = f"{self.site.rest}/conversations/{self.conversation}/messages"
        while True:
            page = (await self.site.ask(f"{path}?after={self.printed}"))["results"]
            if not page:
                return
            self.printed = max(self.printed, page[0]["seq"] - 1)  # from here on it is ours to see
            for message in page:
                self.show(message)

    def show(self, message: dict[str, Any]) -> None:
        if message["seq"] > self.printed:
            self.early[message["seq"]] = message
        while (following := self.early.pop(self.printed + 1, None)) is not None:
            self.printed += 1
            say(f"{self.printed} {following['sender_id']}: {following.get('body') or ''}")

    def take(self, line: str) -> None:
        """What was typed, or the end; the same `cid` each time that it is sent makes it one
        message."""
        if line.strip():
            self.waiting.append({"cid": uuid.uuid4().hex, "body": line.strip()})
        self.is_over = not line
        self.something_typed.set()


def say(words: str) -> None:
    print(words, flush=True)


async def main(url: str, conversation: str) -> int:
    chat = Chat(Site(url), None if conversation == "desk" else int(conversation))
    loop = asyncio.get_running_loop()

    def read_lines() -> None:
        line = " "
        while line:
            line = sys.stdin.readline()
            loop.call_soon_threadsafe(chat.take, line)

    # A thread that waits for a line cannot be stopped; as a daemon it is not waited for.
    threading.Thread(target=read_lines, daemon=True).start()
    return await chat.run()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not (sys.argv[2] == "desk" or sys.argv[2].isdecimal()):
        print("usage: chat SITE CONVERSATION, which is a number or desk", file=sys.stderr)
        sys.exit(2)
    sys.exit(asyncio.run(main(*sys.argv[1:])))
