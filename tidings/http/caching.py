"""What caches may keep, decided in one place for every route.

An answer with a reader in it is `private, no-store` and says in `Vary` what it was chosen by. An
answer that is the same for all may be kept but is asked for again each time (`no-cache`): what is
taken down has to be gone at once; a strong ETag makes that a 304 without a body. Pictures alone are
kept without asking, since their names carry their content. All else is `no-store`. Rejected: each
resource saying it for itself, where the one that forgets shows a reader to the next one behind a
shared cache.

    class ChannelsResource:
        caching = SAME_FOR_ALL
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

import falcon

from tidings.http.caller import role_needed
from tidings.http.compression import LONG_BYTES, PACKED_TYPES, Coding, coding_for, pack

_ETAG_BYTES = 12
# Ends the tag of an answer that is packed.
PACKED = ".gz"
# Of the answers that are the same for all: the files of the page, and the articles of the hour.
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Caching:
    """What may be done with an answer.

    Attributes:
        control: its `Cache-Control`.
        vary: the request's headers that it was chosen by.
        is_tagged: whether it has an ETag, and is 304 where the client has it already.
    """

    control: str
    vary: tuple[str, ...] = ()
    is_tagged: bool = False


_READER_HEADERS = ("Cookie", "X-Reader", "Authorization")
OF_READER = Caching("private, no-store", _READER_HEADERS)
# The same page for all, with one reader's cookie.
PAGE_OF_READER = Caching("private, no-cache", _READER_HEADERS, is_tagged=True)
SAME_FOR_ALL = Caching("no-cache", is_tagged=True)
# The same address is JSON for programs and a page for people.
BY_TYPE = Caching("no-cache", ("Accept",), is_tagged=True)
# What is named by its content: another content has another name.
FOR_EVER = Caching("public, max-age=31536000, immutable", is_tagged=True)
NOT_KEPT = Caching("no-store")
EVERY = (OF_READER, PAGE_OF_READER, SAME_FOR_ALL, BY_TYPE, FOR_EVER, NOT_KEPT)


def _is_private(caching: Caching) -> bool:
    return caching.control.startswith("private")


def names_reader(resource: object, method: str) -> bool:
    """Whether what a resource answers is a reader's, or is for some of them alone."""
    if getattr(resource, "needs_reader", False):
        return True
    return role_needed(resource, method) is not None


def caching_of(resource: object, method: str) -> Caching:
    """What may be done with the good answers of a resource.

    Args:
        method: in capitals.
    """
    declared: Caching = getattr(resource, "caching", NOT_KEPT)
    if method not in ("GET", "HEAD"):
        declared = NOT_KEPT
    if names_reader(resource, method) and not _is_private(declared):
        return OF_READER
    return declared


def private_of(caching: Caching) -> Caching:
    """What may be done with an answer once a reader was told, as with a key on a route for all."""
    if _is_private(caching):
        return caching
    return PAGE_OF_READER if caching.is_tagged else OF_READER


class AnswerCaching:
    """Falcon middleware: sets `Cache-Control`, `Vary` and `ETag`, answers 304, and packs.

    Args:
        varies_by_origin: whether pages of other origins may read answers.
    """

    def __init__(self, *, varies_by_origin: bool) -> None:
        always = ("Accept-Encoding", "Origin") if varies_by_origin else ("Accept-Encoding",)
        self._headers = {
            caching: (
                ("cache-control", caching.control),
                ("vary", ", ".join((*caching.vary, *always))),
            )
            for caching in EVERY
        }

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, _req_succeeded: bool
    ) -> None:
        caching = _choose(req, resp, resource)
        resp.set_headers(self._headers[caching])
        if resp.data:
            _represent(req, resp, resp.data, is_tagged=caching.is_tagged)


def _choose(req: falcon.Request, resp: falcon.Response, resource: object) -> Caching:
    caching = NOT_KEPT if resource is None else caching_of(resource, req.method)
    # A law and no courtesy: an answer for which a reader was told is that reader's, whatever its
    # resource says of itself.
    if getattr(req.context, "reader_id", None) is not None:
        caching = private_of(caching)
    if resp.status_code >= HTTPStatus.BAD_REQUEST:
        return OF_READER if _is_private(caching) else NOT_KEPT
    return caching


def _represent(req: falcon.Request, resp: falcon.Response, body: bytes, *, is_tagged: bool) -> None:
    """The body as this client wants it: not at all if it has it, and packed if it takes that."""
    coding = coding_for(req.env.get("HTTP_ACCEPT_ENCODING", ""))
    is_packed = coding is Coding.GZIP or (coding is Coding.GZIP_IF_LONG and len(body) > LONG_BYTES)
    is_packed = is_packed and (resp.content_type or "").startswith(PACKED_TYPES)
    if is_tagged:
        # A strong tag names bytes, so those that are packed have one of their own.
        tag = falcon.ETag(_digest(body) + (PACKED if is_packed else ""))
        resp.etag = tag
        known = req.if_none_match or ()
        if tag in known or "*" in known:  # compared weakly, as RFC 9110 has it for this header
            resp.status = int(HTTPStatus.NOT_MODIFIED)
            resp.data = None
            resp.delete_header("Content-Type")
            return
    elif is_packed and (own := resp.get_header("ETag")):
        resp.set_header("ETag", f'{own[:-1]}{PACKED}"')  # of a record, which stays what it was
    if is_packed:
        resp.data = _pack_shared(body) if is_tagged else pack(body)
        resp.set_header("Content-Encoding", "gzip")


@lru_cache(maxsize=_REMEMBERED)
def _digest(body: bytes) -> str:
    return hashlib.blake2s(body, digest_size=_ETAG_BYTES).hexdigest()


_pack_shared = lru_cache(maxsize=_REMEMBERED)(pack)
