"""`/channels`: the parts of the site, "for you" first, and one of them.

Rejected: channels by pages as other lists are; there are a dozen, and a menu shows them all.

    app.add_route("/channels", ChannelsResource(channels))
"""

from __future__ import annotations

from http import HTTPStatus

import falcon
import msgspec

from tidings.http.bodies import answer_json
from tidings.http.caching import BY_TYPE, SAME_FOR_ALL
from tidings.http.openapi import Operation
from tidings.http.parameters import read_id, read_parameters
from tidings.news.channels import Channel, Channels


class ChannelList(msgspec.Struct, frozen=True):
    """Channel 0, "for you", comes first."""

    results: list[Channel]


class ChannelsResource:
    """`GET /channels`."""

    caching = SAME_FOR_ALL
    operations = {"get": Operation("Every channel", answers=ChannelList)}

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        answer_json(resp, ChannelList(self._channels.channels()))


class ChannelResource:
    """`GET /channels/{channel_id}`."""

    caching = BY_TYPE
    operations = {
        "get": Operation(
            "One channel",
            answers=Channel,
            path_parameters={"channel_id": "from GET /channels"},
            problems=(HTTPStatus.NOT_FOUND,),
        )
    }

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def on_get(self, req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        read_parameters(req)
        answer_json(resp, self._channels.channel(read_id("channel_id", channel_id)))
