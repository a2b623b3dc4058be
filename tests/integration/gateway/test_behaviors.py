"""POST /behaviors on real stores: durable, told apart, counted once."""

from __future__ import annotations

from typing import Any

from redis import Redis

from tests.lab.newsroom import DAY_MS
from tests.unit.gateway.doors import READER_ID, Door
from tidings.reading.acts import Action
from tidings.reading.behaviour import fold
from tidings.reading.behaviour_log import LOG
from tidings.reading.tracking import Shown, Tracker
from tidings.store.keys import BEHAVIOUR_WAITING


def verdicts(answer: Any) -> list[str]:
    assert answer.status_code == 202
    return [result["verdict"] for result in answer.json["results"]]


def test_each_event_has_its_verdict_in_its_place(door: Door) -> None:
    article_id = door.newsroom.article()
    door.recommends([article_id])
    track = door.get("/articles").json["results"][0]["track"]
    place = Shown(Action.CLICK, READER_ID, 0, 1, article_id)
    expired = door.tracker.issue(place, door.clock() - 31 * DAY_MS)
    foreign = Tracker([b"f" * 32]).issue(place, door.clock())

    answer = door.report(
        [{"track": foreign}, {"track": track["click"]}, {"track": expired}, {"track": "x"}]
    )

    assert verdicts(answer) == ["refused", "accepted", "expired", "refused"]


def test_what_was_accepted_reaches_the_counts_once_however_often_it_is_sent(
    door: Door, redis_client: Redis
) -> None:
    article_id = door.newsroom.article()
    door.recommends([article_id])
    track = door.get("/articles").json["results"][0]["track"]
    events = [
        {"track": track["click"]},
        {"track": track["read"], "at": door.clock(), "read_ms": 61_000},
    ]

    for _ in range(3):
        assert verdicts(door.report(events)) == ["accepted", "accepted"]
    fold(door.newsroom.engine, redis_client, consumer="test")

    counts = door.newsroom.counts(article_id)
    assert (counts["click"], counts["reading"]) == (1, 1)
    (read,) = [row for row in door.newsroom.behaviours() if row.action == "reading"]
    assert (read.reader_id, read.read_ms) == (READER_ID, 61_000)


def test_a_full_backlog_is_503_with_when_to_come_back(door: Door, redis_client: Redis) -> None:
    token = door.tracker.issue(Shown(Action.CLICK, READER_ID, 0, 1, 1), door.clock())
    redis_client.set(BEHAVIOUR_WAITING.of(), 1000)

    answer = door.report([{"track": token}])

    assert answer.status_code == 503
    assert answer.json["type"] == "/docs#backlog-full"
    assert int(answer.headers["Retry-After"]) > 0
    assert redis_client.exists(LOG) == 0


def test_an_exposure_that_is_to_be_taken_back_is_refused_as_the_description_says(
    door: Door, redis_client: Redis
) -> None:
    token = door.tracker.issue(Shown(Action.EXPOSURE, READER_ID, 0, 1), door.clock())

    assert verdicts(door.report([{"track": token, "undone": True}])) == ["refused"]
    assert redis_client.exists(LOG) == 0
    result = door.client.simulate_get("/openapi.json").json["components"]["schemas"]["Result"]
    assert "`refused`: the token is none of this site, or is an exposure's with `undone`" in (
        " ".join(result["description"].split())
    )
