"""JSON in and out: bounded before it is read, checked against a type while it is decoded.

Of a name that comes twice in an object the last one counts, as in browsers: no program between the
client and this door reads a body, so there is no second reading of it. Rejected: a second parser
that looks for such names, at the price of the first one.

    report = read_body(req, msgspec.json.Decoder(ReportRequest), max_bytes=20_000)
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TypeVar

import falcon
import msgspec

from tidings.http.errors import (
    BodyTooLargeError,
    EncodedBodyError,
    InvalidRequestError,
    MalformedBodyError,
    NotJsonError,
)

Body = TypeVar("Body")
_PATH = re.compile(r"(?P<reason>.*) - at `\$\.?(?P<path>.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_LENGTH = re.compile(r"Expected `(?P<type>\w+)` of length (?P<bound>[<>]=) (?P<length>\d+)")
_TYPE = re.compile(r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`")
_BOUNDS = {">=": "at least", "<=": "at most"}
_SHOWN_CHARS = 200


def read_body(req: falcon.Request, decoder: msgspec.json.Decoder[Body], max_bytes: int) -> Body:
    """The decoded body.

    Raises:
        NotJsonError: it is declared as something else.
        EncodedBodyError: it is declared as packed.
        BodyTooLargeError: more than `max_bytes`; at most one byte beyond them was read.
        MalformedBodyError: it is not JSON; NaN and Infinity are not.
        InvalidRequestError: naming the field whose type or range is wrong, or that is unknown.
    """
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise NotJsonError(
            f"send it with Content-Type: application/json, not {media_type or 'none'}"
        )
    return decode(read_raw(req, max_bytes), decoder)


def read_raw(req: falcon.Request, max_bytes: int) -> bytes:
    """The body as it came.

    Raises:
        EncodedBodyError, BodyTooLargeError: as `read_body`.
    """
    if (req.get_header("Content-Encoding") or "identity").strip().lower() != "identity":
        # A few bytes that unpack to a gigabyte would be let in by their size.
        raise EncodedBodyError("send it without a Content-Encoding")
    declared = req.content_length
    if declared is not None and declared > max_bytes:
        raise BodyTooLargeError(f"{declared} bytes were announced, at most {max_bytes} are taken")
    raw = req.stream.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise BodyTooLargeError(f"at most {max_bytes} bytes are taken")
    return raw


def decode(raw: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """`raw` as what the decoder makes of it.

    Raises:
        MalformedBodyError, InvalidRequestError: as `read_body`.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as ex:
        raise InvalidRequestError(_name_field(str(ex))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as ex:
        raise MalformedBodyError(str(ex)) from None
    except RecursionError:
        raise MalformedBodyError("it is nested too deeply") from None


def answer_json(resp: falcon.Response, answer: object, status: HTTPStatus = HTTPStatus.OK) -> None:
    """Answer with a msgspec struct, or anything msgspec encodes."""
    resp.status = int(status)
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(answer)


def _name_field(message: str) -> dict[str, str]:
    """msgspec's message as field → reason; its own path says `[...]` for any place in a list."""
    found = _PATH.fullmatch(message)
    reason, path = (found["reason"], found["path"]) if found else (message, "")
    path = path.replace("[...]", "[]")
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown:
        name = unknown["name"][:_SHOWN_CHARS]
        return {f"{path}.{name}" if path else name: "is unknown"}
    return {path or "body": _say(reason)[:_SHOWN_CHARS]}


def _say(reason: str) -> str:
    """The parser's reason in words that need no knowledge of the parser."""
    if found := _LENGTH.fullmatch(reason):
        of = "entries" if found["type"] == "array" else "characters"
        return f"expected {_BOUNDS[found['bound']]} {found['length']} {of}"
    if found := _TYPE.fullmatch(reason):
        wanted = found["wanted"].replace(" | ", " or ")
        return f"expected JSON of the type {wanted}, got {found['got']}"
    return reason
