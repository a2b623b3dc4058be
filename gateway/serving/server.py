"""Runs the gateway under gunicorn, configured here and nowhere else.

The master owns the sockets, the operators' port and the workers' lives; all that holds a connection
is made in the worker after the fork, since two processes that share one connection read each
other's answers. Rejected: a gunicorn.conf.py, which is a second place for settings and is not
typed.

    serve(load_settings())  # until SIGTERM or SIGINT
"""

from __future__ import annotations

import math
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from gunicorn.app.base import BaseApplication

from gateway.app import create_app
from gateway.feed.ladder import Recommending
from gateway.resources.chat import ChatAddress
from gateway.resources.shop import make_shop
from gateway.resources.site import Site
from gateway.serving.bounded_worker import BoundedWorker
from gateway.serving.connections import MOST_CONNECTIONS
from gateway.serving.framing import MAX_FIELD_BYTES, MAX_FIELDS, MAX_LINE_BYTES
from tidings.http.cursors import Cursors
from tidings.http.door import App
from tidings.http.gunicorn_log import StructuredLogger
from tidings.http.limits import make_quotas
from tidings.http.origins import Origins
from tidings.http.reader_id import ReaderSigner
from tidings.importing.addresses import FetchRules
from tidings.importing.visiting import Checked, check
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.news.images import FOLDER, Images
from tidings.news.rendering import content
from tidings.news.rendering.masthead import Masthead
from tidings.process.asking import answers_ready, endpoint_of
from tidings.process.clock import now_ms
from tidings.process.errors import naming
from tidings.process.listening import listen_by_name
from tidings.process.metrics import serve_metrics
from tidings.process.settings import Settings, read_secret_keys
from tidings.process.shared_metrics import forget_worker
from tidings.process.worker_numbers import free_number, take_number
from tidings.readers.checking import KeyCheck
from tidings.readers.tickets import Tickets
from tidings.reading.behaviour import Behaviours
from tidings.reading.marks import Marks
from tidings.reading.noting import ReaderNotes
from tidings.reading.tracking import Tracker
from tidings.rpc.calling.recommender import make_recommender, make_tls
from tidings.rpc.wire.codec import require_codec
from tidings.shop.providers import make_provider, make_site
from tidings.store.engine import make_engine
from tidings.store.keys import DAY_S
from tidings.store.opening import open_database
from tidings.store.redis import make_redis
from tidings.store.windows import SlidingWindows

WORKER_SILENT_S = 30
DRAIN_S = 10
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only where gunicorn keeps its workers' heartbeats

log = structlog.get_logger(__name__)


class GatewayServer(BaseApplication):  # type: ignore[misc] # gunicorn carries no annotations
    """gunicorn, told what to run.

    Args:
        listener: already listens; gunicorn takes it over.

    Attributes:
        settings: also for the workers.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self.settings = settings
        self._listener_fd = listener.fileno()
        super().__init__(prog="tidings-gateway")

    def load_config(self) -> None:
        for name, value in make_options(self.settings, self._listener_fd).items():
            self.cfg.set(name, value)

    def load(self) -> App:
        """The worker's app; runs in each worker, after the fork."""
        return make_worker_app(self.settings)


def make_options(settings: Settings, listener_fd: int) -> dict[str, Any]:
    """gunicorn's settings, by its own names."""
    deadline_s = math.ceil(settings.gateway.deadline_ms / 1000)
    return {
        "bind": f"fd://{listener_fd}",
        "workers": settings.gateway.workers,
        "worker_class": BoundedWorker,
        "threads": settings.gateway.threads,
        # A burst of as many as a worker may hold, which takes them all in at its next look. The
        # first packet of one more is dropped, and its client tries again a second later.
        "backlog": MOST_CONNECTIONS,
        "timeout": WORKER_SILENT_S,
        "graceful_timeout": deadline_s + DRAIN_S,
        "limit_request_line": MAX_LINE_BYTES,
        "limit_request_fields": MAX_FIELDS,
        "limit_request_field_size": MAX_FIELD_BYTES,
        "worker_tmp_dir": str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None,
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "preload_app": False,
        "control_socket_disable": True,
        "accesslog": None,
        "loglevel": settings.site.log_level,
        "logger_class": StructuredLogger,
        "proc_name": "tidings-gateway",
        "pre_fork": _number_worker,
        "post_fork": _become_worker,
        "child_exit": _forget_worker,
    }


def make_worker_app(settings: Settings) -> App:
    """Everything a worker holds, and the app on top of it."""
    keys = read_secret_keys(settings.site)
    engine, redis, tracker = (
        make_engine(settings.database),
        make_redis(settings.redis),
        Tracker(keys),
    )
    articles = Articles(engine, redis, card_ttl_s=settings.gateway.card_ttl_s, clock=now_ms)
    recommending = Recommending(
        recommender=make_recommender(
            settings.recommender,
            caller="gateway",
            timeout_ms=settings.gateway.recommend_ms,
            pool_size=settings.gateway.threads,
        ),
        articles=articles,
        redis=redis,
        tracker=tracker,
        recommend_ms=settings.gateway.recommend_ms,
        clock=now_ms,
    )
    return create_app(
        articles=articles,
        channels=Channels(engine, clock=now_ms),
        images=Images(settings.site.var_dir / FOLDER),
        images_max_bytes=settings.content.images_max_bytes,
        check_source=partial(_check_source, settings),
        site=Site(Masthead.of(settings.site), settings.site.var_dir / content.FOLDER),
        recommending=recommending,
        behaviours=Behaviours(
            redis,
            tracker,
            ReaderNotes(settings.reading.reader_ttl_days * DAY_S),
            backlog_limit=settings.reading.behaviour_backlog,
            clock=now_ms,
        ),
        tracker=tracker,
        signer=ReaderSigner(keys),
        keys=KeyCheck(engine),
        tickets=Tickets(keys, redis),
        chat=ChatAddress.of(settings),
        cursors=Cursors(keys),
        marks=Marks(engine, redis),
        engine=engine,
        shop=make_shop(
            settings, make_provider(settings.shop.payment_provider, make_site(settings))
        ),
        windows=SlidingWindows(redis, settings.gateway.limit_window_s),
        quotas=make_quotas(settings),
        clock=now_ms,
        deadline_ms=settings.gateway.deadline_ms,
        max_body_bytes=settings.gateway.max_body_bytes,
        origins=Origins(settings.site.url, settings.gateway.allowed_origins),
    )


def _check_source(settings: Settings, address: str, deadline_s: float) -> Checked:
    rules = FetchRules.of(settings)
    return check(address, folder=settings.site.var_dir, rules=rules, deadline_s=deadline_s)


def serve(settings: Settings) -> None:
    """Serve until told to stop, and exit.

    Raises:
        CannotStartError: something is not as it has to be; nothing was started.
    """
    read_secret_keys(settings.site)
    require_codec()
    make_tls(settings.recommender)
    make_provider(settings.shop.payment_provider, make_site(settings))
    # A connection opened before the fork must not be there after it.
    open_database(settings).dispose()
    with naming("GATEWAY_BIND"):
        listener = listen_by_name(settings.gateway.bind)
    door = endpoint_of(listener)
    with naming("GATEWAY_METRICS_BIND"):
        serve_metrics(settings.gateway.metrics_bind, lambda: answers_ready(door))
    log.info("gateway_started", address=listener.getsockname())
    GatewayServer(settings, listener).run()


def _number_worker(server: Any, worker: BoundedWorker) -> None:
    worker.number = free_number(living.number for living in server.WORKERS.values())


def _become_worker(_server: Any, worker: BoundedWorker) -> None:
    take_number(worker.number)


def _forget_worker(_server: Any, worker: BoundedWorker) -> None:
    forget_worker(worker.number)
