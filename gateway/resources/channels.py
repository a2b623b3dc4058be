"""`/channels`: the parts of the site."""

from __future__ import annotations

import falcon
import msgspec

from gateway.http.bodies import answer_json
from gateway.http.openapi import Operation
from gateway.http.parameters import read_parameters
from tidings.news.articles import Articles, Channel


class Channels(msgspec.Struct, frozen=True):
    """Channel 0, "for you", comes first."""

    results: list[Channel]


class ChannelsResource:
    """`GET /channels`."""

    operations = {"get": Operation("Every channel", answers=Channels)}

    def __init__(self, articles: Articles) -> None:
        self._articles = articles

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        resp.cache_control = ["no-cache"]
        answer_json(resp, Channels(self._articles.channels()))

    on_head = on_get
