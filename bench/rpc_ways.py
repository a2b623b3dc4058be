"""The ways to ask for a page of a feed that `bench.rpc` compares: a server and a client of each.

All get the same ten rows of tokens and give the same page, and each is used as its documentation
does for production: codecs in C, connections kept open, no access log. What differs besides the
protocol is said in docs/bench-rpc.md.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLIENTS = 8
TOKEN = "AQATkcXbfsmWAAAAAAAAAaIHxA_OAAAAAAAAADAAAmsECTvqjekHmxy-dxw3KIiARY4d"
STAMP_MS = 1_795_387_012_006
# A number and four tokens of one length for each article, as text and as the bytes that they are
# made as.
ROWS: list[tuple[Any, ...]] = [
    (1000 + n, *(f"{TOKEN}{n}{action}" for action in "ABCD")) for n in range(10)
]
FIELDS = ("article_id", "click", "collect", "reading", "liking")
ENCODED_ROWS = [(row[0], *(token.encode() for token in row[1:])) for row in ROWS]

Call = Callable[[], Any]


# What the handlers answer.


def make_thrift_page(ttypes: Any) -> Any:
    articles = [
        ttypes.Article(row[0], ttypes.Track(row[1], row[2], row[3], row[4])) for row in ROWS
    ]
    return ttypes.ArticleResponse(TOKEN, STAMP_MS, articles)


def make_json_page() -> dict[str, Any]:
    articles = [
        {"article_id": row[0], "track": dict(zip(FIELDS[1:], row[1:], strict=True))} for row in ROWS
    ]
    return {"exposure": TOKEN, "time_stamp": STAMP_MS, "recommends": articles}


class StructHandler:
    """Makes its page anew for each call, as a recommender does."""

    def __init__(self, ttypes: Any) -> None:
        self._ttypes = ttypes

    def user_recommend(self, request: Any) -> Any:
        return make_thrift_page(self._ttypes)

    def report(self, request: Any) -> None:
        """Not asked here."""

    def similar_articles(self, request: Any) -> None:
        """Not measured."""

    explain = similar_articles

    def is_healthy(self, probe: int) -> bool:
        return True


class PageHandler(StructHandler):
    """The same page, packed without making its structs."""

    def __init__(self, ttypes: Any) -> None:
        from tidings.rpc.wire.encoded import Pages

        super().__init__(ttypes)
        self._pages = Pages(ttypes.ArticleResponse, FIELDS, string_bytes=len(ROWS[0][1]))

    def user_recommend(self, request: Any) -> Any:
        return self._pages.encode(self._ttypes.ArticleResponse(TOKEN, STAMP_MS), ENCODED_ROWS[:])


# The ways. Each has `serve(listener)` and `make_call(port)`.


class Ours:
    """Pool, deadline, request id and metrics on."""

    handler: type[StructHandler] = StructHandler

    def serve(self, listener: socket.socket) -> None:
        import structlog

        from tidings.rpc.serving.options import ServerOptions
        from tidings.rpc.serving.server import make_server
        from tidings_idl.recommend import UserRecommend, ttypes

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        handler = self.handler(ttypes)
        server = make_server(
            UserRecommend,
            handler,
            listener,
            options=ServerOptions(drain_window_s=0),
        )
        signal.signal(signal.SIGTERM, lambda *_: server.drain())
        server.serve()

    def make_call(self, port: int) -> Call:
        from tidings.rpc.calling.client import make_client
        from tidings.rpc.calling.metrics import METRICS
        from tidings.rpc.calling.policy import Policy
        from tidings_idl.recommend import UserRecommend
        from tidings_idl.recommend.ttypes import UserRequest

        request = UserRequest(7, 0, 10, 0)
        policy = Policy(timeout_ms=10_000, connect_timeout_ms=10_000)
        client = make_client(
            UserRecommend,
            [f"127.0.0.1:{port}"],
            policy=policy,
            caller="bench",
            observer=METRICS,
        )
        return lambda: client.call("user_recommend", request)


class OursPacked(Ours):
    """With the pages packed by the layer."""

    handler = PageHandler


class OursStock(Ours):
    """On Thrift's own header protocol, which our own way of framing stands for."""

    def serve(self, listener: socket.socket) -> None:
        from tidings.rpc.wire import protocol

        vars(protocol)["LeanProtocol"] = protocol.HeaderProtocol
        super().serve(listener)

    def make_call(self, port: int) -> Call:
        from tidings.rpc.calling import connection
        from tidings.rpc.wire.protocol import HeaderProtocol

        vars(connection)["LeanProtocol"] = HeaderProtocol
        return super().make_call(port)


class Thrift:
    """Apache Thrift as it comes: threads, frames, binary, the codec in C, the generated client."""

    def serve(self, listener: socket.socket) -> None:
        from thrift.protocol.TBinaryProtocol import TBinaryProtocolAcceleratedFactory
        from thrift.server.TServer import TThreadedServer
        from thrift.transport.TSocket import TServerSocket
        from thrift.transport.TTransport import TFramedTransportFactory

        from tidings_idl.recommend import UserRecommend, ttypes

        transport = TServerSocket("127.0.0.1")
        transport.handle = listener
        transport.listen = lambda: None
        processor = UserRecommend.Processor(StructHandler(ttypes))
        codec = TBinaryProtocolAcceleratedFactory(fallback=False)
        TThreadedServer(processor, transport, TFramedTransportFactory(), codec, daemon=True).serve()

    def make_call(self, port: int) -> Call:
        from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
        from thrift.transport.TSocket import TSocket
        from thrift.transport.TTransport import TFramedTransport

        from tidings_idl.recommend import UserRecommend
        from tidings_idl.recommend.ttypes import UserRequest

        request = UserRequest(7, 0, 10, 0)
        transport = TFramedTransport(TSocket("127.0.0.1", port))
        client = UserRecommend.Client(TBinaryProtocolAccelerated(transport, fallback=False))
        transport.open()
        return lambda: client.user_recommend(request)


class Thriftpy2:
    """Its Cython transports and codec."""

    def _load(self) -> Any:
        import thriftpy2

        return thriftpy2.load("idl/recommend.thrift", module_name="recommend_thrift")

    def serve(self, listener: socket.socket) -> None:
        from thriftpy2.protocol import TCyBinaryProtocolFactory
        from thriftpy2.server import TThreadedServer
        from thriftpy2.thrift import TProcessor
        from thriftpy2.transport import TCyFramedTransportFactory, TServerSocket

        idl = self._load()
        transport = TServerSocket("127.0.0.1", 0, client_timeout=None)
        transport.sock = listener
        transport.listen = lambda: None
        processor = TProcessor(idl.UserRecommend, StructHandler(idl))
        transports, protocols = TCyFramedTransportFactory(), TCyBinaryProtocolFactory()
        TThreadedServer(processor, transport, transports, protocols, daemon=True).serve()

    def make_call(self, port: int) -> Call:
        from thriftpy2.protocol import TCyBinaryProtocolFactory
        from thriftpy2.rpc import make_client
        from thriftpy2.transport import TCyFramedTransportFactory

        idl = self._load()
        client = make_client(
            idl.UserRecommend,
            "127.0.0.1",
            port,
            proto_factory=TCyBinaryProtocolFactory(),
            trans_factory=TCyFramedTransportFactory(),
        )
        request = idl.UserRequest(user_id=7, channel_id=0, article_num=10, time_stamp=0)
        return lambda: client.user_recommend(request)


def load_protobuf() -> Any:
    """The message classes, generated into a folder of this process's own that is gone once they are
    loaded."""
    from grpc_tools import protoc

    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="bench-rpc-") as folder:
        protoc.main(
            ["", f"--proto_path={here}", f"--python_out={folder}", str(here / "recommend.proto")]
        )
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("recommend_pb2")
        finally:
            sys.path.remove(folder)


GRPC_METHOD = "/tidings.bench.UserRecommend/user_recommend"


class Grpc:
    """Its threaded server and blocking stub."""

    def _page(self, messages: Any) -> Any:
        articles = [
            messages.Article(
                article_id=row[0],
                track=messages.Track(click=row[1], collect=row[2], reading=row[3], liking=row[4]),
            )
            for row in ROWS
        ]
        return messages.ArticleResponse(exposure=TOKEN, time_stamp=STAMP_MS, recommends=articles)

    def _handlers(self, grpc: Any, messages: Any, answer: Callable[..., Any]) -> Any:
        method = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=messages.UserRequest.FromString,
            response_serializer=messages.ArticleResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            "tidings.bench.UserRecommend", {"user_recommend": method}
        )

    def serve(self, listener: socket.socket) -> None:
        from concurrent.futures import ThreadPoolExecutor

        import grpc

        messages = load_protobuf()
        server = grpc.server(ThreadPoolExecutor(max_workers=CLIENTS))
        handlers = self._handlers(grpc, messages, lambda _request, _context: self._page(messages))
        server.add_generic_rpc_handlers((handlers,))
        server.add_insecure_port(address_of(listener))
        server.start()
        server.wait_for_termination()

    def _stub(self, grpc: Any, channel: Any, messages: Any) -> Any:
        return channel.unary_unary(
            GRPC_METHOD,
            request_serializer=messages.UserRequest.SerializeToString,
            response_deserializer=messages.ArticleResponse.FromString,
        )

    def make_call(self, port: int) -> Call:
        import grpc

        messages = load_protobuf()
        stub = self._stub(grpc, grpc.insecure_channel(f"127.0.0.1:{port}"), messages)
        request = messages.UserRequest(user_id=7, channel_id=0, article_num=10, time_stamp=0)
        return lambda: stub(request, timeout=10)


class GrpcAio(Grpc):
    """Its asyncio server and stub."""

    def serve(self, listener: socket.socket) -> None:
        import grpc

        messages = load_protobuf()

        async def answer(_request: Any, _context: Any) -> Any:
            return self._page(messages)

        async def run() -> None:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((self._handlers(grpc, messages, answer),))
            server.add_insecure_port(address_of(listener))
            await server.start()
            await server.wait_for_termination()

        asyncio.run(run())

    def make_call(self, port: int) -> Call:
        import grpc

        messages = load_protobuf()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)

        async def open_stub() -> Any:
            return self._stub(grpc, grpc.aio.insecure_channel(f"127.0.0.1:{port}"), messages)

        stub = loop.run_until_complete(open_stub())
        request = messages.UserRequest(user_id=7, channel_id=0, article_num=10, time_stamp=0)

        async def ask() -> Any:
            return await stub(request, timeout=10)

        return lambda: loop.run_until_complete(ask())


class Http:
    """JSON by GET, asked with a urllib3 pool."""

    def make_call(self, port: int) -> Call:
        import urllib3

        pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1)
        return lambda: json.loads(
            pool.request("GET", "/articles?user_id=7&channel_id=0&article_num=10").data
        )


class Falcon(Http):
    """Under gunicorn with one worker of threads, as our gateway is run."""

    def serve(self, listener: socket.socket) -> None:
        import falcon
        from gunicorn.app.base import BaseApplication

        class Articles:
            def on_get(self, request: Any, response: Any) -> None:
                request.get_param_as_int("user_id", required=True)
                response.media = make_json_page()

        app = falcon.App()
        app.add_route("/articles", Articles())

        class Application(BaseApplication):  # type: ignore[misc]
            def load_config(self) -> None:
                self.cfg.set("bind", f"fd://{os.dup(listener.fileno())}")
                self.cfg.set("worker_class", "gthread")
                self.cfg.set("threads", CLIENTS)
                self.cfg.set("keepalive", 75)
                self.cfg.set("loglevel", "error")

            def load(self) -> Any:
                return app

        sys.argv = sys.argv[:1]
        Application().run()


class FastApi(Http):
    """Under uvicorn on uvloop."""

    def serve(self, listener: socket.socket) -> None:
        import fastapi
        import uvicorn

        app = fastapi.FastAPI()

        @app.get("/articles")  # type: ignore[untyped-decorator] # where fastapi is not installed
        async def articles(
            user_id: int, channel_id: int = 0, article_num: int = 10
        ) -> dict[str, Any]:
            return make_json_page()

        config = uvicorn.Config(app, loop="uvloop", log_level="error", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


WAYS: dict[str, Any] = {
    "ours": OursPacked(),
    "ours-structs": Ours(),
    "ours-stock": OursStock(),
    "thrift": Thrift(),
    "thriftpy2": Thriftpy2(),
    "grpc": Grpc(),
    "grpc-aio": GrpcAio(),
    "falcon": Falcon(),
    "fastapi": FastApi(),
}


def address_of(listener: socket.socket) -> str:
    """The address to listen on for a server that opens its own socket."""
    host, port = listener.getsockname()
    listener.close()
    return f"{host}:{port}"
