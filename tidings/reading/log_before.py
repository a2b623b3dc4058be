"""Moves what gateways of the release before put into their stream over to the behaviour log.

During an upgrade both are at work. An entry is moved and acknowledged in two steps, so one may be
moved twice, which counts once. A daemon of the release before goes on folding that stream by
itself. Rejected: folding both streams; those who follow what readers do would have to read two.

    move_before(redis, log, consumer="daemon-1")  # 0, once every gateway is of this release
"""

from __future__ import annotations

from typing import Any

import msgspec
from redis import Redis, ResponseError

from tidings.reading.behaviour_log import CLAIM_AFTER_MS, GROUP, BehaviourLog, set_aside
from tidings.reading.events import Event, decode_before
from tidings.reading.exposing import with_batches
from tidings.store.keys import BEHAVIOUR

STREAM = BEHAVIOUR.of()
MOST = 500


def move_before(redis: Redis, log: BehaviourLog, consumer: str) -> int:
    """Move entries of the stream before; returns how many.

    Raises:
        BacklogFullError: the log is full; they stay where they are.
    """
    if not redis.xlen(STREAM):
        return 0
    try:
        redis.xgroup_create(STREAM, GROUP, id="0")
    except ResponseError as ex:
        if "BUSYGROUP" not in str(ex):
            raise
    claimed: Any = redis.xautoclaim(STREAM, GROUP, consumer, CLAIM_AFTER_MS, count=MOST)
    entries = [entry for entry in claimed[1] if entry[1]]
    if not entries:
        answer: Any = redis.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=MOST)
        entries = list(answer[0][1]) if answer else []
    if not entries:
        return 0
    events: list[Event] = []
    for entry_id, fields in entries:
        try:
            events.append(decode_before(fields[b"e"]))
        except (msgspec.MsgspecError, KeyError) as ex:
            set_aside(redis, entry_id, fields, ex)
    if events := with_batches(redis, events):
        log.append(events)
    ids = [entry_id for entry_id, _ in entries]
    with redis.pipeline(transaction=True) as pipe:
        pipe.xack(STREAM, GROUP, *ids)
        pipe.xdel(STREAM, *ids)
        pipe.execute()
    return len(entries)
