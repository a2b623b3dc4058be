"""Channels as editors work on them: opened, renamed, merged, deleted.

`/channels` is for readers, too; `/operator/channels` tells what stands in each, and the version
that a write has to bring back. Rejected: the ETag that readers are given; it names an answer, which
also changes with its packing.

    POST /channels/3/merge {"into": 5}
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import falcon
import msgspec
from msgspec import Meta

from gateway.resources.channels import ChannelResource, ChannelsResource
from gateway.resources.editing.desk import CHANGE_PROBLEMS, READ_PROBLEMS, WRITE_PROBLEMS, Desk
from tidings.editing import channels as verbs
from tidings.editing.records import digest
from tidings.http.bodies import answer_json, read_body
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import MAX_ID, read_id, read_parameters
from tidings.http.preconditions import IF_MATCH, answer_record, read_if_match
from tidings.news.channels import Channel, ChannelNotFoundError, Channels, read_channels
from tidings.news.listing import list_channels
from tidings.readers.keys import Role

ID = {"channel_id": "from GET /channels"}


class ChannelWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What readers see of a channel. Its slug is made of its first name and stays."""

    name: Annotated[str, Meta(min_length=1)]


class Merge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The channel in which everything stands from now on."""

    into: Annotated[int, Meta(ge=1, le=MAX_ID)]


class ChannelLine(msgspec.Struct, frozen=True):
    """A channel, and how many articles stand in it, those that readers do not see included."""

    channel_id: int
    slug: str
    name: str
    articles: int


class ChannelLines(msgspec.Struct, frozen=True):
    """In the order in which they were opened; there are no more pages of them."""

    results: list[ChannelLine]
    next: None = None


class ChannelsDeskResource(ChannelsResource):
    """`/channels`: the channels for readers, and new ones."""

    needs_role = {"post": Role.EDITOR}
    limit_class = {"post": LimitClass.WRITE}
    operations = ChannelsResource.operations | {
        "post": Operation(
            "Open a channel",
            body=ChannelWanted,
            answers=Channel,
            status=HTTPStatus.CREATED,
            problems=WRITE_PROBLEMS,
            is_record=True,
        )
    }

    def __init__(self, channels: Channels, desk: Desk) -> None:
        super().__init__(channels)
        self._desk = desk
        self._decoder = msgspec.json.Decoder(ChannelWanted)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        wanted = read_body(req, self._decoder, self._desk.max_body_bytes)
        opened = self._desk.change(req, lambda act: verbs.add(act, wanted.name))
        resp.location = f"/operator/channels/{opened.channel_id}"
        answer_record(resp, opened, digest(opened), HTTPStatus.CREATED)


class ChannelDeskResource(ChannelResource):
    """`/channels/{channel_id}`: the channel for readers, another name for it, and its end."""

    needs_role = {"patch": Role.EDITOR, "delete": Role.EDITOR}
    limit_class = {"patch": LimitClass.WRITE, "delete": LimitClass.WRITE}
    operations = ChannelResource.operations | {
        "patch": Operation(
            "Have readers see another name; what sources call the channel stays",
            body=ChannelWanted,
            answers=Channel,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
            is_record=True,
        ),
        "delete": Operation(
            "Delete a channel in which nothing stands",
            status=HTTPStatus.NO_CONTENT,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
        ),
    }

    def __init__(self, channels: Channels, desk: Desk) -> None:
        super().__init__(channels)
        self._desk = desk
        self._decoder = msgspec.json.Decoder(ChannelWanted)

    def on_patch(self, req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("channel_id", channel_id), read_if_match(req)
        name = read_body(req, self._decoder, self._desk.max_body_bytes).name
        renamed = self._desk.change(req, lambda act: verbs.rename(act, id_, name, seen=seen))
        answer_record(resp, renamed, digest(renamed))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("channel_id", channel_id), read_if_match(req)
        self._desk.change(req, lambda act: verbs.delete(act, id_, seen=seen))
        resp.status = int(HTTPStatus.NO_CONTENT)


class Merged(msgspec.Struct, frozen=True):
    """How many articles stand in the other channel since."""

    articles: int


class MergeResource:
    """`POST /channels/{channel_id}/merge`."""

    needs_role = {"post": Role.EDITOR}
    limit_class = LimitClass.WRITE
    operations = {
        "post": Operation(
            "Have all that stands in a channel, and all that its sources will bring, stand in "
            "another",
            body=Merge,
            answers=Merged,
            path_parameters=ID,
            headers=(IF_MATCH,),
            problems=CHANGE_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoder = msgspec.json.Decoder(Merge)

    def on_post(self, req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        read_parameters(req)
        id_, seen = read_id("channel_id", channel_id), read_if_match(req)
        into = read_body(req, self._decoder, self._desk.max_body_bytes).into
        moved = self._desk.change(req, lambda act: verbs.merge(act, id_, into=into, seen=seen))
        answer_json(resp, Merged(moved))


class OperatorChannelsResource:
    """`GET /operator/channels`."""

    needs_role = {"get": Role.AUTHOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "Every channel, and how much stands in it",
            answers=ChannelLines,
            problems=READ_PROBLEMS,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        with self._desk.engine.connect() as conn:
            lines = [ChannelLine(*line) for line in list_channels(conn)]
        answer_json(resp, ChannelLines(lines))


class OperatorChannelResource:
    """`GET /operator/channels/{channel_id}`."""

    needs_role = {"get": Role.EDITOR}
    limit_class = LimitClass.FEED
    operations = {
        "get": Operation(
            "One channel; its ETag is what a write has to bring back",
            answers=Channel,
            path_parameters=ID,
            problems=READ_PROBLEMS,
            is_record=True,
        )
    }

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_get(self, req: falcon.Request, resp: falcon.Response, channel_id: str) -> None:
        read_parameters(req)
        id_ = read_id("channel_id", channel_id)
        with self._desk.engine.connect() as conn:
            found = {known.channel_id: known for known in read_channels(conn)}.get(id_)
        if found is None:
            raise ChannelNotFoundError(id_)
        answer_record(resp, found, digest(found))
