"""Writes that name the version they were made from, so that of two editors at once neither undoes
the other's work unseen.

A record's ETag is a digest of all that is stored of it; a write brings it back as `If-Match`, and
the noun compares it under the row's lock, since between a check at the door and the write another
may come. Rejected: writes without one, where the last one wins; `*` says that on purpose.

    answer_record(resp, record, digest)
    read_if_match(req)  # the digests that the client has seen; None for `*`
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

import falcon

from tidings.http.bodies import answer_json
from tidings.http.caching import PACKED
from tidings.http.parameters import HeaderParameter

IF_MATCH = HeaderParameter(
    "If-Match",
    "the ETag under which the record was read, or several; `*` for whatever it is now",
    is_required=True,
)
PROBLEMS = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.PRECONDITION_REQUIRED)


class PreconditionNeededError(Exception):
    """A write does not say which version of the record it was made from."""

    def __init__(self) -> None:
        super().__init__(f"send {IF_MATCH.name}: {IF_MATCH.meaning}")


def read_if_match(req: falcon.Request) -> Collection[str] | None:
    """The digests of the versions that the client accepts; None if it accepts any.

    A weak tag counts as well, against RFC 9110, 13.1.1: a proxy that packs an answer makes its
    tag weak, and the digest names what is stored and not the bytes that travelled.

    Raises:
        PreconditionNeededError: it says none.
    """
    given = req.if_match
    if not given:
        raise PreconditionNeededError
    if "*" in given:
        return None
    return {str(tag).removesuffix(PACKED) for tag in given}


def answer_record(
    resp: falcon.Response, record: object, digest: str, status: HTTPStatus = HTTPStatus.OK
) -> None:
    """Answer with a record, under the tag that a write of it has to bring back."""
    answer_json(resp, record, status)
    resp.etag = falcon.ETag(digest)
