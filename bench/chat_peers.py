"""Three chat servers as one would write them in Python with other people's stacks, for the
benchmark of ours to be held against: `python -m bench.chat_peers NAME` prints its port and serves.

Each keeps who is there in a dictionary, sends a message to one or to all, and stores nothing. They
are as small as their documentation allows, since what is compared is the stack: with tickets, a
database and limits in them, it would be our own design three times over.

    python -m bench.chat_peers websockets
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from bench.chat_wire import allow_files

BACKLOG = 2048


def serve_socketio(listener: socket.socket) -> None:
    """python-socketio on gevent's server, its WebSocket by simple-websocket."""
    importlib.import_module("gevent.monkey").patch_all()
    import socketio

    server = socketio.Server(async_mode="gevent")
    sids: dict[int, str] = {}

    def hello(sid: str, number: int) -> None:
        sids[number] = sid
        server.emit("welcome", number, to=sid)

    def send(_sid: str, message: dict[str, Any]) -> None:
        to = message["to"]
        server.emit("message", message, to=None if to == "all" else sids[to])

    server.on("hello", hello)
    server.on("send", send)
    green = importlib.import_module("gevent.socket").socket(fileno=listener.detach())
    app = socketio.WSGIApp(server)
    importlib.import_module("gevent.pywsgi").WSGIServer(green, app, log=None).serve_forever()


def serve_falcon(listener: socket.socket) -> None:
    """Falcon's ASGI on uvicorn with uvloop."""
    import falcon
    import falcon.asgi
    import uvicorn

    here: dict[int, falcon.asgi.WebSocket] = {}

    class Chat:
        async def on_websocket(self, _req: falcon.asgi.Request, ws: falcon.asgi.WebSocket) -> None:
            await ws.accept()
            number = -1
            try:
                while True:
                    message = json.loads(await ws.receive_text())
                    if message["type"] == "hello":
                        number = message["number"]
                        here[number] = ws
                        await ws.send_text(json.dumps({"type": "welcome"}))
                        continue
                    text = json.dumps(message)
                    if message["to"] != "all":
                        await here[message["to"]].send_text(text)
                        continue
                    for each in tuple(here.values()):
                        # One that is gone is taken out by its own handler.
                        if not each.closed:
                            await each.send_text(text)
            except falcon.WebSocketDisconnected:
                pass
            finally:
                here.pop(number, None)

    app = falcon.asgi.App()
    app.add_route("/ws", Chat())
    config = uvicorn.Config(app, loop="uvloop", log_level="error", access_log=False)
    make_loop = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(uvicorn.Server(config).serve([listener]))


def serve_websockets(listener: socket.socket) -> None:
    """`websockets` on asyncio, with its own broadcast."""
    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.exceptions import ConnectionClosed

    here: dict[int, ServerConnection] = {}

    async def chat(connection: ServerConnection) -> None:
        number = -1
        try:
            async for received in connection:
                message = json.loads(received)
                if message["type"] == "hello":
                    number = message["number"]
                    here[number] = connection
                    await connection.send(json.dumps({"type": "welcome"}))
                elif message["to"] == "all":
                    broadcast(here.values(), json.dumps(message))
                else:
                    await here[message["to"]].send(json.dumps(message))
        except ConnectionClosed:
            pass
        finally:
            here.pop(number, None)

    async def run() -> None:
        async with serve(chat, sock=listener) as server:
            await server.serve_forever()

    asyncio.run(run())


PEERS: dict[str, Callable[[socket.socket], None]] = {
    "socketio": serve_socketio,
    "falcon": serve_falcon,
    "websockets": serve_websockets,
}


def main() -> None:
    """Serve one of them until it is killed."""
    allow_files()
    logging.disable(logging.CRITICAL)
    # Ours raises them too: a collection that walks ten thousand connections costs all alike.
    gc.set_threshold(50_000, 20, 50)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)
    PEERS[sys.argv[1]](listener)


if __name__ == "__main__":
    main()
