"""Composition root of the recommender: what it is made of, put together from the collaborators it is given."""

from __future__ import annotations

from redis import Redis
from sqlalchemy import Engine

from services.recommender.catalogue import Catalogue
from services.recommender.handler import ERRORS, RecommendHandler
from services.recommender.pipeline import Pipeline
from services.recommender.recall import Hot, Latest
from tidings.articles import Clock
from tidings.behaviour import Behaviours
from tidings.history import History
from tidings.rpc.server import Server, ServerOptions
from tidings.rpc.server import make_server as make_rpc_server
from tidings.rpc.transport import CodecMissing
from tidings.settings import PREFIX, Settings, SettingsError
from tidings.tracking import Tracker
from tidings_idl.recommend import UserRecommend

DAY_S = 24 * 3600


def make_pipeline(settings: Settings, catalogue: Catalogue, redis: Redis, clock: Clock) -> Pipeline:
    """The pipeline with this version's sources."""
    history = History(
        redis,
        batches_kept=settings.history_batches,
        seen_kept=settings.seen_articles,
        ttl_s=settings.reader_ttl_days * DAY_S,
    )
    return Pipeline(catalogue, history, [Latest(catalogue), Hot(redis, catalogue)], clock)


def make_server(
    settings: Settings, engine: Engine, redis: Redis, tracker: Tracker, clock: Clock
) -> tuple[Server, Catalogue]:
    """The server, listening but not yet serving, and the catalogue that is to be kept fresh beside it.

    Raises:
        SQLAlchemyError: the catalogue could not be read.
        CannotStartError: the address cannot be had, or Thrift's C codec is missing.
    """
    catalogue = Catalogue(engine, clock)
    catalogue.refresh()
    pipeline = make_pipeline(settings, catalogue, redis, clock)
    behaviours = Behaviours(redis, tracker, backlog_limit=settings.behaviour_backlog, clock=clock)
    handler = RecommendHandler(pipeline, behaviours, tracker, clock)
    options = ServerOptions()
    try:
        server = make_rpc_server(UserRecommend, handler, settings.recommender_bind, options=options, errors=ERRORS)
    except CodecMissing:
        raise
    except SettingsError as ex:
        raise SettingsError(f"{PREFIX}RECOMMENDER_BIND: {ex}") from None
    return server, catalogue
