"""A gateway in one piece behind Falcon's test client. Only the recommender is not real; it says
what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from falcon import testing
from redis import Redis, RedisError
from sqlalchemy import Engine

from gateway.app import create_app
from gateway.feed.ladder import Recommending
from gateway.resources.chat import ChatAddress
from gateway.resources.editing.source_check import Check
from gateway.resources.site import Site
from tests.conftest import SECRET_KEY
from tests.lab.histories import make_history, record_batch
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.shop import make_open_shop
from tests.lab.sites import PATIENT
from tidings.http.cursors import Cursors
from tidings.http.limits import Quotas
from tidings.http.origins import Origins
from tidings.http.reader_id import ReaderSigner
from tidings.importing.visiting import Checked
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.news.images import Images
from tidings.news.rendering.masthead import Masthead
from tidings.process.deadline import Deadline
from tidings.readers.checking import KeyCheck
from tidings.readers.keys import Role, add_key
from tidings.readers.tickets import Tickets
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours
from tidings.reading.history import History
from tidings.reading.marks import Marks
from tidings.reading.noting import ReaderNotes
from tidings.reading.tracking import Shown, Tracker
from tidings.shop.providers import Provider
from tidings.shop.providers.none import NoProvider
from tidings.store.engine import transaction
from tidings.store.windows import SlidingWindows, Taken, Window
from tidings_idl.recommend.ttypes import (
    Article,
    ArticleResponse,
    Neighbour,
    SimilarResponse,
    Track,
    UserRequest,
)

KEYS = (SECRET_KEY.encode(),)
READER_ID = 2**52 + 7
UNLIMITED = Quotas(of_reader={}, key_times=1, address_times=0, new_readers=0)
WINDOW_S = 60
DEADLINE_MS: int = PATIENT["gateway_deadline_ms"]
RECOMMEND_MS: int = PATIENT["gateway_recommend_ms"]
ADDRESS = "192.0.2.7"
MAX_BODY_BYTES = 20_000
IMAGES_MAX_BYTES = 1_000_000
NO_PAGES = Path("/nonexistent")
MASTHEAD = Masthead("https://news.example")
CHAT = ChatAddress(url="", port=8001, site="news.example")


def make_response(
    tracker: Tracker,
    request: UserRequest,
    ids: Sequence[int],
    *,
    stamp_ms: int,
    now_ms: int,
    before_ms: int = 0,
) -> ArticleResponse:
    """A fresh batch as the recommender would give it, with tokens that are valid."""

    def token(action: Action, article_id: int = 0, position: int = 0) -> str:
        source = 2 if article_id else 0
        place = Shown(
            action, request.user_id, request.channel_id, stamp_ms, article_id, position, source
        )
        return tracker.issue(place, now_ms)

    def track(article_id: int, position: int) -> Track:
        return Track(
            click=token(Action.CLICK, article_id, position),
            collect=token(Action.COLLECT, article_id, position),
            reading=token(Action.READING, article_id, position),
            liking=token(Action.LIKING, article_id, position),
            dislike=token(Action.DISLIKE, article_id, position),
        )

    recommends = [Article(id_, track(id_, position)) for position, id_ in enumerate(ids)]
    return ArticleResponse(
        exposure=token(Action.EXPOSURE), time_stamp=before_ms, recommends=recommends
    )


@dataclass
class StubRecommender:
    """Answers what `answer` makes of the request, or raises what it raises; remembers what it was
    asked."""

    answer: Callable[[UserRequest], ArticleResponse]
    requests: list[UserRequest] = field(default_factory=list)
    near: Sequence[int] = ()
    asked_near: list[tuple[int, int]] = field(default_factory=list)

    def call(self, method: str, request: Any, deadline: Deadline | None = None) -> Any:
        assert deadline is not None
        if method == "similar_articles":
            self.asked_near.append((request.article_id, request.article_num))
            self.answer(request)
            return SimilarResponse([Neighbour(id_, 1.0) for id_ in self.near])
        assert method == "user_recommend"
        self.requests.append(request)
        return self.answer(request)

    def fails_with(self, ex: Exception) -> None:
        def answer(_request: UserRequest) -> ArticleResponse:
            raise ex

        self.answer = answer


@dataclass
class Door:
    """The app and all that stands around it."""

    client: testing.TestClient
    recommending: Recommending
    recommender: StubRecommender
    newsroom: Newsroom
    clock: Clock
    tracker: Tracker
    signer: ReaderSigner
    history: History
    redis: Redis

    def get(self, path: str, **options: Any) -> testing.Result:
        """GET as the reader READER_ID."""
        headers = options.pop("headers", {"X-Reader": self.signer.sign(READER_ID)})
        options.setdefault("remote_addr", ADDRESS)
        return self.client.simulate_get(path, headers=headers, **options)

    def make_key(self, role: Role = Role.READER, name: str = "") -> dict[str, str]:
        """The headers of a caller who has a new key of this role."""
        with transaction(self.newsroom.engine) as conn:
            made = add_key(conn, name or role.value, role)
        return {"Authorization": f"Bearer {made.secret}"}

    def report(self, events: Any) -> testing.Result:
        return self.post_raw(json.dumps({"events": events}).encode())

    def post_raw(self, body: bytes, content_type: str = "application/json") -> testing.Result:
        return self.client.simulate_post(
            "/behaviors", body=body, headers={"Content-Type": content_type}
        )

    def recommends(self, ids: Sequence[int], before_ms: int = 0) -> None:
        """From now on the recommender gives these articles to every reader, in a batch of its own
        each time, which it records; the reader's first batch comes after one of `before_ms`."""

        def answer(request: UserRequest) -> ArticleResponse:
            now_ms = self.clock()
            chosen = ids[: request.article_num]
            with suppress(RedisError):
                self.record(request, chosen, before_ms=before_ms)
            return make_response(
                self.tracker, request, chosen, stamp_ms=now_ms, now_ms=now_ms, before_ms=before_ms
            )

        self.recommender.answer = answer

    def record(self, request: UserRequest, ids: Sequence[int], *, before_ms: int = 0) -> None:
        """Record a batch as the recommender does."""
        place = request.user_id, request.channel_id
        if before_ms and not self.history.read(request.user_id).version:
            record_batch(self.redis, *place, ids=[1], now_ms=before_ms)
        if ids:
            record_batch(self.redis, *place, ids=ids, now_ms=self.clock())


class ClockedWindows(SlidingWindows):
    """Sliding windows by the door's clock, which tests move."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        super().__init__(redis, WINDOW_S)
        self._clock = clock

    def take(
        self, needed: Sequence[Window], wished: Sequence[Window] = (), *, now_ms: int = 0
    ) -> Taken:
        return super().take(needed, wished, now_ms=now_ms or self._clock())


def check_nothing(address: str, _deadline_s: float) -> Checked:
    """Finds a feed without an entry at every address."""
    return Checked(url=address, title="", entries=0, refused=(), articles=())


def make_door(
    engine: Engine,
    redis: Redis,
    *,
    deadline_ms: int = DEADLINE_MS,
    recommend_ms: int = RECOMMEND_MS,
    card_ttl_s: int = 60,
    provider: Provider | None = None,
    shop: Mapping[str, Any] | None = None,
    allowed_origins: tuple[str, ...] = (),
    quotas: Quotas = UNLIMITED,
    chat: ChatAddress = CHAT,
    images: Path = Path("no-pictures"),
    check_source: Check = check_nothing,
    site_folder: Path = NO_PAGES,
    masthead: Masthead = MASTHEAD,
    **options: Any,
) -> Door:
    """A gateway on this database and this Redis."""
    clock, tracker, signer = Clock(), Tracker(KEYS), ReaderSigner(KEYS)
    articles = Articles(engine, redis, card_ttl_s=card_ttl_s, clock=clock)
    recommender = StubRecommender(
        lambda _: ArticleResponse(exposure="", time_stamp=0, recommends=[])
    )
    recommending = Recommending(
        recommender=recommender,
        articles=articles,
        redis=redis,
        tracker=tracker,
        recommend_ms=recommend_ms,
        clock=clock,
    )
    app = create_app(
        articles=articles,
        channels=Channels(engine, clock=clock),
        images=Images(images),
        images_max_bytes=IMAGES_MAX_BYTES,
        check_source=check_source,
        site=Site(masthead, site_folder),
        recommending=recommending,
        behaviours=Behaviours(
            redis, tracker, ReaderNotes(ttl_s=3600), backlog_limit=1000, clock=clock
        ),
        tracker=tracker,
        signer=signer,
        keys=KeyCheck(engine),
        tickets=Tickets(KEYS, redis),
        chat=chat,
        cursors=Cursors(KEYS),
        marks=Marks(engine, redis),
        engine=engine,
        shop=make_open_shop(engine, provider or NoProvider(), **shop or {}),
        windows=ClockedWindows(redis, clock),
        quotas=quotas,
        clock=clock,
        deadline_ms=deadline_ms,
        max_body_bytes=MAX_BODY_BYTES,
        origins=Origins("https://news.example", allowed_origins),
        **options,
    )
    return Door(
        testing.TestClient(app),
        recommending,
        recommender,
        Newsroom(engine, clock),
        clock,
        tracker,
        signer,
        make_history(redis),
        redis,
    )
