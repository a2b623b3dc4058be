"""What is read a lot just now, by channel: rebuilt from SQL by a job, kept in Redis, served when
nothing better can be.

Three windows, the shortest weighted most, so that a story rises within a minute and sinks within a
day. They are read from counts by minute and by hour, so that a rebuild costs the same on a busy day
and on a quiet one. A channel with few readers is filled up with its newest articles, so that a
ranking is never shorter than it must be.

    rebuild(engine, redis, now)
    top(redis, channel_id=10, limit=30)  # [(12, 81.0), (7, 40.5), ...]
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from redis import Redis
from sqlalchemy import Connection, Engine

from tidings.news.channels import FOR_YOU, read_channels
from tidings.news.visibility import newest_ids, visible_ids
from tidings.reading.tallies import read_scores
from tidings.store.keys import POPULAR

RANKING_LENGTH = POPULAR.most
TTL_S = POPULAR.ttl_s
# How far back → what one act is worth: the windows contain each other, so the newest acts count in
# all three.
WINDOWS = {timedelta(minutes=10): 6.0, timedelta(hours=1): 2.0, timedelta(hours=24): 1.0}


def top(redis: Redis, channel_id: int, limit: int) -> list[tuple[int, float]]:
    """(article_id, score) of the channel's most popular, best first; channel 0 is all. Scores are 0
    or more.

    Empty when no job has built a ranking for a day.

    Raises:
        RedisError: it could not be read.
    """
    found: Any = redis.zrange(POPULAR.of(channel_id), 0, limit - 1, desc=True, withscores=True)
    return [(int(member), max(score, 0.0)) for member, score in found]


def rebuild(engine: Engine, redis: Redis, now: datetime) -> int:
    """Rank every channel anew. Each ranking is swapped in whole.

    Returns:
        How many rankings were written.
    """
    with engine.connect() as conn:
        scores = read_scores(conn, now, WINDOWS)
        channel_ids = [known.channel_id for known in (FOR_YOU, *read_channels(conn))]
        rankings = {id_: _ranking(conn, scores, id_, now) for id_ in channel_ids}
    for channel_id, ranking in rankings.items():
        key = POPULAR.of(channel_id)
        with redis.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            if ranking:
                # zset members of equal score sort by text; a hair's breadth keeps the order that
                # was decided here.
                pipe.zadd(
                    key,
                    {str(id_): score - rank * 1e-6 for rank, (id_, score) in enumerate(ranking)},
                )
                pipe.expire(key, TTL_S)
            pipe.execute()
    return len(rankings)


def _ranking(
    conn: Connection, scores: dict[int, float], channel_id: int, now: datetime
) -> Sequence[tuple[int, float]]:
    best: dict[int, float] = defaultdict(float)
    hottest = sorted(scores, key=lambda id_: (-scores[id_], id_))
    for start in range(0, len(hottest), 500):
        chunk = hottest[start : start + 500]
        shown = visible_ids(conn, chunk, now=now, channel_id=channel_id)
        best.update({id_: scores[id_] for id_ in chunk if id_ in shown})
        if len(best) >= RANKING_LENGTH:
            break
    for id_ in newest_ids(conn, now=now, limit=RANKING_LENGTH, channel_id=channel_id):
        best.setdefault(id_, 0.0)
    return list(best.items())[:RANKING_LENGTH]
