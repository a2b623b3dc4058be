"""Composition root of the recommender: what it is made of, put together from the collaborators it
is given.

    server = make_server(settings, engine, catalogue, redis, tracker=tracker, clock=now_ms, …)
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from redis import Redis, RedisError
from sqlalchemy import Engine

from services.recommender.catalogue import Catalogue
from services.recommender.exposures import Exposures
from services.recommender.following_exposures import ExposureFollower
from services.recommender.handler import ERRORS, RecommendHandler
from services.recommender.parts import (
    NOTHING_LEARNED,
    Models,
    make_chooser,
    make_models,
    no_texts,
)
from services.recommender.pipeline import Pipeline
from services.recommender.reading_texts import TextKeeper
from services.recommender.signals.folding import Signals
from services.recommender.tailing import WARM_UP_MS, Tail
from services.recommender.texts import Texts
from tidings.process.clock import Clock, now_ms
from tidings.process.errors import PREFIX, naming
from tidings.process.handover import Handover
from tidings.process.listening import bind_for_each, listen
from tidings.process.master import Master
from tidings.process.settings import Settings, read_secret_keys
from tidings.process.worker import Progress
from tidings.reading.behaviour import Behaviours
from tidings.reading.history import History
from tidings.reading.noting import ReaderNotes
from tidings.reading.older_pages import OlderPages
from tidings.reading.restoring import HiddenInSql
from tidings.reading.tracking import Tracker
from tidings.rpc.serving.options import ServerOptions
from tidings.rpc.serving.server import Server
from tidings.rpc.serving.server import make_server as make_rpc_server
from tidings.rpc.tls import TlsOptions, make_server_context
from tidings.rpc.wire.codec import require_codec
from tidings.store.opening import open_database
from tidings.store.redis import make_redis
from tidings_idl.recommend import UserRecommend

log = structlog.get_logger(__name__)
DAY_S = 24 * 3600
SPARE_S = 1.5  # for a worker that has drained to end


def make_pipeline(
    settings: Settings,
    engine: Engine,
    catalogue: Catalogue,
    redis: Redis,
    *,
    signals: Signals,
    clock: Clock,
    exposures: Exposures | None = None,
    texts: Callable[[], Texts] = no_texts,
    models: Models = NOTHING_LEARNED,
) -> Pipeline:
    """The pipeline with this version's sources."""
    notes = ReaderNotes(settings.reading.reader_ttl_days * DAY_S)
    history = History(
        redis,
        batches_kept=settings.reading.history_batches,
        seen_kept=settings.reading.seen_articles,
        ttl_s=settings.reading.reader_ttl_days * DAY_S,
        channels=catalogue.channel_ids,
        restore=HiddenInSql(engine, redis, notes),
    )
    chooser = make_chooser(signals, catalogue.view, exposures, texts, models)
    return Pipeline(catalogue, history, chooser, older=OlderPages(engine), clock=clock)


def make_master(settings: Settings) -> Master:
    """The process that keeps the workers; the address is taken, and no worker listens yet.

    Raises:
        CannotStartError: the address cannot be had, or Thrift's C codec is missing.
    """
    require_codec()
    tls = make_server_context(make_tls_options(settings), settings.recommender.bind)
    with naming("RECOMMENDER_BIND"):
        listeners = bind_for_each(settings.recommender.workers, settings.recommender.bind)
    options = make_options(settings)
    return Master(
        settings.recommender.workers,
        listeners,
        partial(working, settings, tls),
        stop_within_s=options.drain_window_s + options.drain_timeout_s + SPARE_S,
    )


@contextmanager
def working(
    settings: Settings,
    tls: ssl.SSLContext | None,
    listener: socket.socket,
    handover: Handover,
    progress: Progress,
) -> Iterator[Server]:
    """A worker's server, with everything that it alone holds, until the block ends.

    Raises:
        CannotStartError: something prevents a start.
    """
    tracker = Tracker(read_secret_keys(settings.site))
    engine = open_database(settings)
    redis = make_redis(settings.redis)
    catalogue = Catalogue(engine, now_ms)
    signals = Signals()
    tail = Tail(redis, engine, signals, now_ms)
    exposures = Exposures()
    follower = ExposureFollower(engine, exposures, now_ms)
    keeper = TextKeeper(engine, catalogue.view)
    models = make_models(settings)
    models.look()
    server = make_server(
        settings,
        engine,
        catalogue,
        redis,
        signals=signals,
        tail=tail,
        models=models,
        tracker=tracker,
        clock=now_ms,
        exposures=exposures,
        texts=keeper.texts,
        listener=listener,
        tls=tls,
        handover=handover,
        progress=progress,
    )
    stopping = threading.Event()
    for name, follow in (
        ("catalogue", catalogue.keep_fresh),
        ("signals", tail.follow),
        ("texts", keeper.keep),
        ("exposures", follower.follow),
        ("models", models.keep_looking),
    ):
        threading.Thread(target=follow, args=(stopping,), name=name, daemon=True).start()
    try:
        yield server
    finally:
        stopping.set()
        redis.close()
        engine.dispose()


def make_server(
    settings: Settings,
    engine: Engine,
    catalogue: Catalogue,
    redis: Redis,
    *,
    signals: Signals,
    tail: Tail,
    tracker: Tracker,
    clock: Clock,
    exposures: Exposures | None = None,
    texts: Callable[[], Texts] = no_texts,
    models: Models = NOTHING_LEARNED,
    listener: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    handover: Handover | None = None,
    progress: Progress = lambda: None,
) -> Server:
    """The server, listening but not yet serving.

    Args:
        engine: the database that the catalogue is read from.
        catalogue: is read here for the first time, and is to be kept fresh beside the server.
        signals: what all readers did.
        tail: fills them here for the first time, and is to follow the log beside the server.
        exposures: what all readers saw, to be followed beside the server.
        texts: the vectors of articles as they are now.
        models: what was learned, to be looked for beside the server.
        listener: has an address; None opens the recommender's own.
        progress: called whenever the start has come further.

    Raises:
        SQLAlchemyError: the catalogue could not be read.
        CannotStartError: the address cannot be had, or Thrift's C codec is missing.
    """
    catalogue.refresh(progress)
    try:
        tail.catch_up(clock() - WARM_UP_MS, progress)
    except RedisError as ex:
        # A worker that starts before Redis does is ready once it has read the log.
        log.warning("behaviours_not_followed", error=repr(ex))
    pipeline = make_pipeline(
        settings,
        engine,
        catalogue,
        redis,
        signals=signals,
        clock=clock,
        exposures=exposures,
        texts=texts,
        models=models,
    )
    behaviours = Behaviours(
        redis,
        tracker,
        ReaderNotes(settings.reading.reader_ttl_days * DAY_S),
        backlog_limit=settings.reading.behaviour_backlog,
        clock=clock,
    )
    handler = RecommendHandler(pipeline, behaviours, tracker, clock)
    if listener is None:
        with naming("RECOMMENDER_BIND"):
            listener = listen(settings.recommender.bind)
    return make_rpc_server(
        UserRecommend,
        handler,
        listener,
        options=make_options(settings),
        errors=ERRORS,
        tls=tls,
        is_fit=lambda: catalogue.is_fresh() and tail.is_fresh(),
        handover=handover,
    )


def make_tls_options(settings: Settings) -> TlsOptions:
    """What the operator chose for this door and for those who call at it."""
    return TlsOptions(
        cert=settings.recommender.tls_cert,
        key=settings.recommender.tls_key,
        ca=settings.recommender.tls_ca,
        name=settings.recommender.tls_name,
        allow_plaintext=settings.recommender.allow_plaintext,
        prefix=f"{PREFIX}RECOMMENDER_",
    )


def make_options(settings: Settings) -> ServerOptions:
    """The server's limits as set."""
    return ServerOptions(
        max_connections=settings.recommender.max_connections,
        max_in_flight=settings.recommender.max_in_flight,
        idle_timeout_s=settings.recommender.idle_timeout_s,
        drain_window_s=settings.recommender.drain_window_s,
    )
