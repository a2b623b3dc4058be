"""`/articles`: a reader's feed, one whole article, and its neighbours.

What a feed is made of is the ladder's business; what is here is how it is asked for and answered
over HTTP.

    curl 'http://127.0.0.1:8000/articles?channel_id=0&article_num=10'
    curl http://127.0.0.1:8000/articles/12
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec

from gateway.feed.cards import Feed
from gateway.feed.ladder import NOBODY, Recommending
from gateway.feed.visit import read_context
from tidings.http.bodies import answer_json
from tidings.http.caching import BY_TYPE, SAME_FOR_ALL
from tidings.http.errors import InvalidRequestError
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import IntParameter, read_parameters
from tidings.news.articles import ArticleNotFoundError, Articles, Card, WholeArticle
from tidings.news.channels import FOR_YOU, Channels
from tidings.reading.pages import LONGEST_PAGE, PAGE_SIZE

MAX_ID = 2**63 - 1
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript's numbers have gaps

FEED_PARAMETERS = (
    IntParameter(
        "channel_id",
        0,
        2**31 - 1,
        default=FOR_YOU.channel_id,
        meaning=f"a channel of GET /channels; {FOR_YOU.channel_id} is the channel For you",
    ),
    IntParameter(
        "time_stamp",
        0,
        MAX_SAFE_INTEGER,
        default=0,
        meaning="ms since 1970; 0, or a clock's now, asks for fresh articles, a pre_timestamp for "
        "the page before",
    ),
    IntParameter("article_num", 1, LONGEST_PAGE, default=PAGE_SIZE, meaning="how many articles"),
)


class FeedResource:
    """`GET /articles`: the feed."""

    needs_reader = True
    serves_nobody = True
    limit_class = {"get": LimitClass.FEED}
    operations = {
        "get": Operation(
            "One page of the reader's feed",
            answers=Feed,
            parameters=FEED_PARAMETERS,
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
    }

    def __init__(self, recommending: Recommending, channels: Channels) -> None:
        self._recommending = recommending
        self._channels = channels

    def on_head(self, req: falcon.Request, resp: falcon.Response) -> None:
        """As `GET`, but makes no batch: one that no reader sees would be in the reader's history,
        and its articles missing from later feeds. So the length stays unknown."""
        self._channels.channel(read_parameters(req, FEED_PARAMETERS)["channel_id"])
        resp.content_type = "application/json"
        resp.stream = ()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        wanted = read_parameters(req, FEED_PARAMETERS)
        channel = self._channels.channel(wanted["channel_id"])
        feed = self._recommending.feed(
            req.context.reader_id or NOBODY,
            channel.channel_id,
            wanted["article_num"],
            time_stamp=wanted["time_stamp"],
            context=read_context(req),
            first_visit=req.context.caller.is_new,
        )
        req.context.served_from = feed.served_from.value
        answer_json(resp, feed)


SIMILAR_PARAMETERS = (
    IntParameter("article_num", 1, LONGEST_PAGE, default=PAGE_SIZE, meaning="how many articles"),
)


class Neighbours(msgspec.Struct, frozen=True):
    """The nearest first; there are no more pages of them."""

    results: list[Card]
    next: None = None


class SimilarResource:
    """`GET /articles/{article_id}/similar`: its neighbours."""

    caching = SAME_FOR_ALL

    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Articles that are read by those who read this one; none while the recommender is away",
            answers=Neighbours,
            parameters=SIMILAR_PARAMETERS,
            path_parameters={"article_id": "from a feed"},
            problems=(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
    }

    def __init__(self, articles: Articles, recommending: Recommending) -> None:
        self._articles = articles
        self._recommending = recommending

    def on_get(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        wanted = read_parameters(req, SIMILAR_PARAMETERS)
        id_ = _read_id(article_id)
        if id_ not in self._articles.cards([id_]):
            raise ArticleNotFoundError(id_)
        answer_json(resp, Neighbours(self._recommending.similar(id_, wanted["article_num"])))


class ArticleResource:
    """`GET /articles/{article_id}`: the whole of one article."""

    caching = BY_TYPE

    operations = {
        "get": Operation(
            "One whole article; its body is sanitised HTML",
            answers=WholeArticle,
            path_parameters={"article_id": "from a feed"},
            problems=(HTTPStatus.NOT_FOUND,),
        )
    }

    def __init__(self, articles: Articles) -> None:
        self._articles = articles

    def on_get(self, req: falcon.Request, resp: falcon.Response, article_id: str) -> None:
        read_parameters(req)
        whole = self._articles.whole(_read_id(article_id))
        answer_json(resp, whole)


def _read_id(text: str) -> int:
    parameter = IntParameter("article_id", 1, MAX_ID, default=1, meaning="an article's id")
    article_id = parameter.read(text)
    if article_id is None:
        if text.isascii() and text.isdigit() and len(text) <= 40:
            raise ArticleNotFoundError(int(text))
        raise InvalidRequestError(
            {"article_id": f"must be a whole number from 1 to {MAX_ID}, got {text[:40]!r}"}
        )
    return article_id
