"""What a reader marks: likes, saves and does not want to see, and the lists of it.

A mark is durable before it is answered, and the reader's next feed knows it; setting it twice sets
it once, and it can be taken back. It goes the way of every act, so that a database that is away
refuses no reader. Rejected: writing the mark's row here, which would also count apart from the
token of the same act.

    curl -X PUT -H "X-Reader: $READER" http://127.0.0.1:8000/articles/12/liking
    curl -H "X-Reader: $READER" http://127.0.0.1:8000/reader/likings
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from http import HTTPStatus

import falcon
import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.feed.cards import Track, issue_track
from tidings.http.bodies import answer_json
from tidings.http.caller import Caller
from tidings.http.cursors import AFTER, LIMIT, Cursors
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_id, read_parameters, read_text
from tidings.news.articles import ArticleNotFoundError, Articles, Card
from tidings.news.authors import AuthorNotFoundError, find_author_names
from tidings.news.channels import FOR_YOU, ChannelNotFoundError, Channels
from tidings.process.clock import Clock, milliseconds, moment
from tidings.reading.acts import Action
from tidings.reading.behaviour import Behaviours
from tidings.reading.events import Target
from tidings.reading.marks import After, Marked, Marks
from tidings.reading.tracking import Shown, Tracker

log = structlog.get_logger(__name__)
LISTED = {"likings": Action.LIKING, "collections": Action.COLLECT}


class HiddenKind(Enum):
    """What a reader can hide."""

    ARTICLE = "article"
    AUTHOR = "author"
    CHANNEL = "channel"


class MarkedCard(Card, frozen=True):
    """A card, and when the reader marked it, in ms since the epoch."""

    marked_at: int


class MarkedCards(msgspec.Struct, frozen=True):
    """Newest first; articles that may not be shown any more are left out, so a page may be short.
    `next` asks for the page after this one as `after`; null on the last."""

    results: list[MarkedCard]
    next: str | None


class HiddenThing(msgspec.Struct, frozen=True):
    """What is not to be shown: its kind, its number, and its name where it still has one."""

    kind: HiddenKind
    id: int
    name: str | None
    marked_at: int


class HiddenThings(msgspec.Struct, frozen=True):
    """Newest first; `next` asks for the page after this one as `after`; null on the last."""

    results: list[HiddenThing]
    next: str | None


class Mine(msgspec.Struct, frozen=True):
    """What the reader marked of an article, and tokens to report what they do on a visit that came
    from no feed."""

    liked: bool
    collected: bool
    disliked: bool
    track: Track


class MarkResource:
    """`PUT` and `DELETE` of one kind of mark on one kind of thing.

    Args:
        check: raises if there is no such thing that a reader may see.
        thing: what it is called in the path, `article` for `article_id`.
    """

    needs_reader = True
    limit_class = LimitClass.WRITE

    def __init__(
        self,
        behaviours: Behaviours,
        action: Action,
        target: Target,
        check: Callable[[int], object],
    ) -> None:
        self._behaviours = behaviours
        self._action = action
        self._target = target
        self._check = check
        self._id_name = f"{target.name.lower()}_id"
        mark = f"the reader's {action.label} on this {target.name.lower()}"
        self.operations = {
            "put": self._operation(f"Set {mark}; answered once it is durable"),
            "delete": self._operation(f"Take {mark} back; answered once it is durable"),
        }

    def _operation(self, summary: str) -> Operation:
        return Operation(
            summary,
            status=HTTPStatus.NO_CONTENT,
            path_parameters={self._id_name: "its number"},
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )

    def on_put(self, req: falcon.Request, resp: falcon.Response, **ids: str) -> None:
        self._change(req, resp, ids[self._id_name], undone=False)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, **ids: str) -> None:
        self._change(req, resp, ids[self._id_name], undone=True)

    def _change(
        self, req: falcon.Request, resp: falcon.Response, text: str, *, undone: bool
    ) -> None:
        read_parameters(req)
        id_ = read_id(self._id_name, text)
        if not undone:  # What was taken down since may still be taken off a reader's list.
            try:
                self._check(id_)
            except SQLAlchemyError as ex:
                # What cannot be checked just now is taken in: what is not there counts nowhere.
                log.warning("mark_not_checked", error=repr(ex))
        caller: Caller = req.context.caller
        self._behaviours.set_mark(
            req.context.reader_id,
            self._action,
            self._target,
            id_,
            undone=undone,
            first_visit=caller.is_new,
        )
        resp.status = int(HTTPStatus.NO_CONTENT)


class MineResource:
    """`GET /articles/{article_id}/mine`."""

    needs_reader = True
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "What the reader marked of an article, and tokens for a visit that came from no feed",
            answers=Mine,
            path_parameters={"article_id": "its number"},
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
    }

    def __init__(self, articles: Articles, marks: Marks, tracker: Tracker, clock: Clock) -> None:
        self._articles = articles
        self._marks = marks
        self._tracker = tracker
        self._clock = clock

    def on_get(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        read_parameters(req)
        id_ = read_id("article_id", article_id)
        if id_ not in self._articles.cards([id_]):
            raise ArticleNotFoundError(id_)
        reader_id = req.context.reader_id
        found = self._marks.find_on(reader_id, id_)
        caller: Caller = req.context.caller
        direct = Shown(
            Action.CLICK,
            reader_id,
            FOR_YOU.channel_id,
            stamp_ms=0,
            article_id=id_,
            first_visit=caller.is_new,
        )
        answer_json(
            resp,
            Mine(
                liked=Action.LIKING in found,
                collected=Action.COLLECT in found,
                disliked=Action.DISLIKE in found,
                track=issue_track(self._tracker, direct, self._clock()),
            ),
        )


class MarkedResource:
    """`GET /reader/likings` and `/reader/collections`."""

    needs_reader = True
    limit_class = LimitClass.FEED

    def __init__(self, name: str, marks: Marks, articles: Articles, cursors: Cursors) -> None:
        self._name = name
        self._marks = marks
        self._articles = articles
        self._cursors = cursors
        self.operations = {
            "get": Operation(
                f"The reader's {name}, newest first",
                answers=MarkedCards,
                parameters=(LIMIT, AFTER),
                problems=(HTTPStatus.UNPROCESSABLE_ENTITY,),
            )
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = _read_page(req, self._name, self._marks, self._cursors, LISTED[self._name])
        cards = self._articles.cards([marked.target_id for marked in page.marks])
        shown = [
            MarkedCard(
                **msgspec.structs.asdict(cards[marked.target_id]),
                marked_at=milliseconds(marked.since),
            )
            for marked in page.marks
            if marked.target_id in cards
        ]
        answer_json(resp, MarkedCards(shown, page.next))


class HiddenResource:
    """`GET /reader/hidden`."""

    needs_reader = True
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "What the reader does not want to see: articles, authors, channels; newest first",
            answers=HiddenThings,
            parameters=(LIMIT, AFTER),
            problems=(HTTPStatus.UNPROCESSABLE_ENTITY,),
        )
    }

    def __init__(
        self, engine: Engine, marks: Marks, articles: Articles, channels: Channels, cursors: Cursors
    ) -> None:
        self._engine = engine
        self._marks = marks
        self._articles = articles
        self._channels = channels
        self._cursors = cursors

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        page = _read_page(req, "hidden", self._marks, self._cursors, Action.DISLIKE)
        names = self._names(page.marks)
        things = [
            HiddenThing(
                HiddenKind[marked.target.name],
                marked.target_id,
                names.get((marked.target, marked.target_id)),
                marked_at=milliseconds(marked.since),
            )
            for marked in page.marks
        ]
        answer_json(resp, HiddenThings(things, page.next))

    def _names(self, marks: Sequence[Marked]) -> dict[tuple[Target, int], str]:
        ids = {
            target: [marked.target_id for marked in marks if marked.target is target]
            for target in Target
        }
        names: dict[tuple[Target, int], str] = {}
        for id_, card in self._articles.cards(ids[Target.ARTICLE]).items():
            names[Target.ARTICLE, id_] = card.title
        if ids[Target.AUTHOR]:
            with self._engine.connect() as conn:
                for id_, name in find_author_names(conn, ids[Target.AUTHOR]).items():
                    names[Target.AUTHOR, id_] = name
        for channel in self._channels.channels():
            names[Target.CHANNEL, channel.channel_id] = channel.name
        return names


class _Page(msgspec.Struct):
    marks: Sequence[Marked]
    next: str | None


def _read_page(
    req: falcon.Request, name: str, marks: Marks, cursors: Cursors, action: Action
) -> _Page:
    limit = read_parameters(req, [LIMIT], texts=[AFTER])[LIMIT.name]
    reader_id = req.context.reader_id
    place = cursors.read(name, reader_id, read_text(req, AFTER))
    after = place and After(moment(place[0]), place[1], place[2])
    found = marks.find_all(reader_id, action, limit=limit + 1, after=after)
    page, following = cursors.cut(
        name,
        reader_id,
        found,
        limit=limit,
        place=lambda last: (milliseconds(last.since), int(last.target), last.target_id),
    )
    return _Page(page, following)


def mark_routes(
    *,
    engine: Engine,
    behaviours: Behaviours,
    marks: Marks,
    articles: Articles,
    channels: Channels,
    cursors: Cursors,
    tracker: Tracker,
    clock: Clock,
) -> dict[str, object]:
    """Path → resource, of everything about marks."""

    def check_article(id_: int) -> None:
        if id_ not in articles.cards([id_]):
            raise ArticleNotFoundError(id_)

    def check_author(id_: int) -> None:
        with engine.connect() as conn:
            if id_ not in find_author_names(conn, [id_]):
                raise AuthorNotFoundError(id_)

    def check_channel(id_: int) -> None:
        if id_ == FOR_YOU.channel_id:
            raise ChannelNotFoundError(id_)
        channels.channel(id_)

    def resource(action: Action, target: Target, check: Callable[[int], object]) -> MarkResource:
        return MarkResource(behaviours, action, target, check)

    return {
        "/articles/{article_id}/liking": resource(Action.LIKING, Target.ARTICLE, check_article),
        "/articles/{article_id}/collect": resource(Action.COLLECT, Target.ARTICLE, check_article),
        "/articles/{article_id}/dislike": resource(Action.DISLIKE, Target.ARTICLE, check_article),
        "/authors/{author_id}/dislike": resource(Action.DISLIKE, Target.AUTHOR, check_author),
        "/channels/{channel_id}/dislike": resource(Action.DISLIKE, Target.CHANNEL, check_channel),
        "/articles/{article_id}/mine": MineResource(articles, marks, tracker, clock),
        **{f"/reader/{name}": MarkedResource(name, marks, articles, cursors) for name in LISTED},
        "/reader/hidden": HiddenResource(engine, marks, articles, channels, cursors),
    }
