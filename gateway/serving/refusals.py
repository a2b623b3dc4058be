"""What the server answers by itself, before or instead of the app: the same problems, with the same
headers, the same count and the same log as those of the app.

Rejected: gunicorn's own error page, which is HTML, names no request and is counted nowhere.

    data = refuse(OverloadedError("no thread is free in time"), arrival)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from gunicorn.util import http_date

from tidings.http.errors import OverloadedError
from tidings.http.problems import PROBLEM_JSON, encode_problem, find_kind
from tidings.http.request_scope import (
    REQUEST_ID,
    SECURITY_HEADERS,
    UNROUTED,
    Answered,
    count_request,
    tell_request,
)
from tidings.process.logs import SeldomLog, accept_request_id

_REQUEST_LINE = re.compile(rb"(?:\r\n)?([!-~]{1,20}) ([!-~]{1,4094}) HTTP/1\.([01])\r\n")
_REQUEST_ID = re.compile(rb"\r\nx-request-id[ \t]*:[ \t]*([\w-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection[ \t]*:[^\r\n]*close", re.IGNORECASE)
_SHOWN_CHARS = 200

log = structlog.get_logger(__name__)
_seldom = SeldomLog(log)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, or what came of it, as it lies on the wire.

    Attributes:
        readable_s: when it could first be read, on the monotonic clock.
        began_s: when work on it began, or it was given up.
        address: of the client or its proxy, "" on a unix socket.
    """

    data: bytes
    readable_s: float
    began_s: float
    address: str


def refuse(ex: Exception, arrival: Arrival, *, keeps: bool = False) -> bytes:
    """An answer that says `ex`, as it goes over the wire; it is counted and logged here.

    Args:
        keeps: the connection goes on to the next request.
    """
    kind = find_kind(ex)
    found = _REQUEST_LINE.match(arrival.data)
    method = found[1].decode() if found else UNROUTED
    request_id = _read_request_id(arrival.data)
    body = encode_problem(ex, kind, instance=_path(found), request_id=request_id)
    headers = {
        "Date": http_date(),
        "Connection": "keep-alive" if keeps else "close",
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        REQUEST_ID: request_id,
        **SECURITY_HEADERS,
    }
    if kind.retry_after_s is not None:
        headers["Retry-After"] = str(kind.retry_after_s)
    answered = Answered(
        route=UNROUTED,
        method=method,
        status=int(kind.status),
        readable_s=arrival.readable_s,
        queue_s=arrival.began_s - arrival.readable_s,
        address=arrival.address,
    )
    if isinstance(ex, OverloadedError):
        # By the thousand in a second, and just when there is no time for them.
        count_request(answered)
        _seldom.warning("requests_shed", request_id=request_id, reason=str(ex))
    else:
        reason = str(ex)[:_SHOWN_CHARS]
        known = {"request_id": request_id, "problem": kind.slug}
        tell_request(answered, known | {"reason": reason})
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {int(kind.status)} {kind.status.phrase}\r\n{lines}\r\n".encode("latin-1")
    return head if method == "HEAD" else head + body


def may_go_on(request: bytes) -> bool:
    """Whether the client takes another answer on the connection of this request."""
    head = request[: request.find(b"\r\n\r\n") + 2]
    found = _REQUEST_LINE.match(head)
    return found is not None and found[3] == b"1" and _CLOSES.search(head) is None


def _read_request_id(data: bytes) -> str:
    found = _REQUEST_ID.search(data, 0, data.find(b"\r\n\r\n") + 2)
    return accept_request_id(found[1].decode() if found else None)


def _path(found: re.Match[bytes] | None) -> str:
    if found is None:
        return ""
    try:
        return urlsplit(found[2].decode()).path
    except ValueError:
        return ""
