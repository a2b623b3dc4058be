"""Every failure as one kind of answer: RFC 9457 problem details, chosen by the one table in this
module.

Rules raise their own exceptions and know nothing of HTTP; here, at the door, each becomes a status,
a stable `type` and a sentence. What is not in the table is a defect of ours: 500, with nothing of
it shown and all of it logged. Rejected: raising Falcon's HTTP errors where the rule lives, which
would tie every rule to this door.

    raise InvalidRequestError({"article_num": "must be from 1 to 100"})  # 400 at the door
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import falcon
import msgspec
import structlog
from redis import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tidings.editing.acting import NotAllowedError, StaleRecordError
from tidings.editing.articles import OtherArticleError, StatusError
from tidings.editing.fields import FieldError
from tidings.http.bulkhead import TooBusyError
from tidings.http.errors import (
    BodyTooLargeError,
    EncodedBodyError,
    ExpectationError,
    ForeignWriteError,
    HeadTooLargeError,
    IdempotencyKeyNeededError,
    InvalidRequestError,
    KeyNeededError,
    MalformedBodyError,
    MalformedRequestError,
    NothingToServeError,
    NotJsonError,
    NotReadyError,
    OverloadedError,
    QuotaExceededError,
    ReaderNeededError,
    RequestTooSlowError,
    RoleTooSmallError,
    TargetTooLongError,
    TooManyConnectionsError,
)
from tidings.http.preconditions import PreconditionNeededError
from tidings.http.request_scope import request_id_of
from tidings.importing.pictures import PictureError, PicturesBusyError
from tidings.news.articles import ArticleNotFoundError
from tidings.news.authors import AuthorNotFoundError
from tidings.news.channels import ChannelNotFoundError
from tidings.news.images import ImageNotFoundError, ImagesFullError
from tidings.news.rearranging import ChannelTakenError, ChannelUsedError
from tidings.process.deadline import DeadlineExceededError
from tidings.readers.checking import KeyRefusedError, KeyUntoldError
from tidings.reading.behaviour_log import BacklogFullError
from tidings.rpc.errors import CallerFaultError
from tidings.shop.caps import TooMuchHeldError
from tidings.shop.orders import (
    IdempotencyConflictError,
    OrderNotFoundError,
    OrderNotPayableError,
    OrderRefusedError,
)
from tidings.shop.providers import (
    CallbackRefusedError,
    CallbackUnreadableError,
    NoProviderError,
    ProviderUnavailableError,
)
from tidings.shop.stock import OutOfStockError, ProductNotFoundError
from tidings.sources.records import SourceNotFoundError
from tidings.sources.registry import SourceError
from tidings.talk.errors import (
    BlockedError,
    CidConflictError,
    InvalidError,
    NoSuchMessageError,
    NotAMemberError,
    NotYoursError,
    QuotaError,
    TooLateError,
    TooLongError,
)

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "/docs#"

log = structlog.get_logger(__name__)


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457. `errors` holds the reason for each refused field."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of exception is answered.

    Attributes:
        slug: the end of the problem's `type`; programs may rely on it.
        detail: what to tell about one exception; nothing internal.
        errors: the reasons by field.
        retry_after_s: sent as `Retry-After`.
        headers: other headers of the answer.
    """

    status: HTTPStatus
    slug: str
    title: str
    detail: Callable[[Any], str] = str
    errors: Callable[[Any], Mapping[str, str] | None] = lambda _: None
    retry_after_s: int | None = None
    headers: Callable[[Any], Mapping[str, str]] = lambda _: {}


def _say(sentence: str) -> Callable[[Any], str]:
    return lambda _: sentence


def _challenge(said: str = "") -> Callable[[Any], Mapping[str, str]]:
    """How to come back with a key, as RFC 6750 writes it; `{needed}` stands for the role."""
    challenge = f'Bearer realm="tidings"{said}'
    return lambda ex: {"WWW-Authenticate": challenge.format(needed=getattr(ex, "needed", ""))}


_INVALID = "The request is not valid"
_STORE = Kind(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "store-unavailable",
    "A store behind this site does not answer",
    detail=_say("nothing was lost; the same request may be sent again"),
    retry_after_s=2,
)
_LATE = Kind(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "out-of-time",
    "The answer took too long",
    detail=_say("the time for this request ran out"),
    retry_after_s=1,
)
_BUSY = Kind(
    HTTPStatus.SERVICE_UNAVAILABLE, "too-busy", "Too many such requests at once", retry_after_s=1
)
# What Falcon refuses before a resource is asked: a method nobody knows, a header it cannot read.
_UNFIT = Kind(
    HTTPStatus.BAD_REQUEST,
    "bad-request",
    "The request cannot be understood",
    detail=lambda ex: ex.description or "it is not as HTTP has it",
)

PROBLEMS: dict[type[Exception], Kind] = {
    falcon.HTTPError: _UNFIT,
    falcon.HTTPNotFound: Kind(
        HTTPStatus.NOT_FOUND,
        "not-found",
        "There is nothing here",
        detail=_say("there is nothing at this path; /docs shows what there is"),
    ),
    falcon.HTTPMethodNotAllowed: Kind(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "The path does not take this method",
        detail=_say("this path does not take that method; the Allow header names those it takes"),
    ),
    InvalidRequestError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", _INVALID, errors=lambda ex: ex.errors
    ),
    CallerFaultError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        _INVALID,
        detail=lambda ex: ex.message,
        errors=lambda ex: ex.details or None,
    ),
    MalformedBodyError: Kind(HTTPStatus.BAD_REQUEST, "malformed-json", "The body is not JSON"),
    BodyTooLargeError: Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"
    ),
    MalformedRequestError: Kind(
        HTTPStatus.BAD_REQUEST, "malformed-request", "This is not HTTP as it should be"
    ),
    RequestTooSlowError: Kind(
        HTTPStatus.REQUEST_TIMEOUT, "request-too-slow", "The request took too long to come"
    ),
    TargetTooLongError: Kind(
        HTTPStatus.REQUEST_URI_TOO_LONG, "uri-too-long", "The request's first line is too long"
    ),
    ExpectationError: Kind(
        HTTPStatus.EXPECTATION_FAILED, "expectation-failed", "What is expected is not known here"
    ),
    TooManyConnectionsError: Kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too-many-connections",
        "Your address holds too many connections",
        retry_after_s=1,
    ),
    HeadTooLargeError: Kind(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers-too-large",
        "The headers are too large",
    ),
    OverloadedError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "overloaded",
        "More is asked than can be answered in time",
        retry_after_s=1,
    ),
    PreconditionNeededError: Kind(
        HTTPStatus.PRECONDITION_REQUIRED,
        "precondition-needed",
        "The write does not say what it changes",
    ),
    NotJsonError: Kind(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "The body has to be JSON"),
    EncodedBodyError: Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded-body", "The body may not be packed"
    ),
    ForeignWriteError: Kind(
        HTTPStatus.FORBIDDEN, "foreign-write", "Another site's page may not do this"
    ),
    ArticleNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-article", "There is no such article"),
    ChannelNotFoundError: Kind(
        HTTPStatus.NOT_FOUND,
        "unknown-channel",
        "There is no such channel",
        errors=lambda ex: {"channel_id": f"{ex}; GET /channels lists them"},
    ),
    ImageNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-image", "There is no such picture"),
    ImagesFullError: Kind(
        HTTPStatus.INSUFFICIENT_STORAGE, "images-full", "There is no room for another picture"
    ),
    PictureError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "picture-refused", "This is no picture that is taken in"
    ),
    PicturesBusyError: _BUSY,
    AuthorNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-author", "There is no such author"),
    NotAllowedError: Kind(
        HTTPStatus.FORBIDDEN, "not-allowed", "This is not yours to do, or not any more"
    ),
    StaleRecordError: Kind(
        HTTPStatus.PRECONDITION_FAILED, "stale-record", "It was changed since you read it"
    ),
    FieldError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        _INVALID,
        errors=lambda ex: {ex.field: ex.reason},
    ),
    StatusError: Kind(
        HTTPStatus.CONFLICT, "wrong-status", "The article's status does not allow this"
    ),
    OtherArticleError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency-conflict",
        "The key was used for something else",
    ),
    ChannelTakenError: Kind(HTTPStatus.CONFLICT, "channel-taken", "There is such a channel"),
    ChannelUsedError: Kind(HTTPStatus.CONFLICT, "channel-used", "The channel is not empty"),
    SourceNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-source", "There is no such source"),
    SourceError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "source-refused", "The source cannot be like this"
    ),
    KeyNeededError: Kind(
        HTTPStatus.UNAUTHORIZED,
        "key-needed",
        "This needs a key",
        detail=_say("send a key as `Authorization: Bearer …`"),
        headers=_challenge(),
    ),
    ReaderNeededError: Kind(
        HTTPStatus.UNAUTHORIZED,
        "reader-needed",
        "This needs a reader",
        detail=_say("send the cookie or the X-Reader that the front page gives, or a key"),
        headers=_challenge(),
    ),
    KeyRefusedError: Kind(
        HTTPStatus.UNAUTHORIZED,
        "key-refused",
        "The key opens no door",
        headers=_challenge(', error="invalid_token"'),
    ),
    RoleTooSmallError: Kind(
        HTTPStatus.FORBIDDEN,
        "role-too-small",
        "The key's role is too small",
        headers=_challenge(', error="insufficient_scope", scope="{needed}"'),
    ),
    QuotaExceededError: Kind(
        HTTPStatus.TOO_MANY_REQUESTS, "quota-exceeded", "There were too many requests"
    ),
    BacklogFullError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "backlog-full",
        "Too many events wait to be stored",
        retry_after_s=5,
    ),
    NotReadyError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "The process is not ready", retry_after_s=1
    ),
    NothingToServeError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "nothing-to-serve",
        "No articles can be read just now",
        retry_after_s=2,
    ),
    OrderNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-order", "There is no such order"),
    OrderRefusedError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "order-refused", "This makes no order"
    ),
    ProductNotFoundError: Kind(HTTPStatus.NOT_FOUND, "unknown-product", "There is no such product"),
    TooMuchHeldError: Kind(
        HTTPStatus.CONFLICT, "too-much-held", "Too much is held that is not paid"
    ),
    TooBusyError: _BUSY,
    OutOfStockError: Kind(HTTPStatus.CONFLICT, "out-of-stock", "There is not enough left"),
    OrderNotPayableError: Kind(
        HTTPStatus.CONFLICT, "order-closed", "The order cannot be changed any more"
    ),
    IdempotencyConflictError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency-conflict",
        "The key was used for something else",
    ),
    IdempotencyKeyNeededError: Kind(
        HTTPStatus.BAD_REQUEST, "idempotency-key-needed", "An Idempotency-Key is needed"
    ),
    # The client's fault it is not, but a 5xx would have it sent again.
    NoProviderError: Kind(
        HTTPStatus.CONFLICT, "no-payment-provider", "This site takes no payments"
    ),
    ProviderUnavailableError: Kind(
        HTTPStatus.BAD_GATEWAY,
        "provider-unavailable",
        "The payment provider does not answer",
        retry_after_s=5,
    ),
    CallbackRefusedError: Kind(
        HTTPStatus.FORBIDDEN, "callback-refused", "The callback is not the provider's"
    ),
    CallbackUnreadableError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "callback-unreadable", "The callback cannot be read"
    ),
    NotAMemberError: Kind(
        HTTPStatus.NOT_FOUND, "unknown-conversation", "There is no such conversation"
    ),
    NoSuchMessageError: Kind(HTTPStatus.NOT_FOUND, "unknown-message", "There is no such message"),
    BlockedError: Kind(HTTPStatus.FORBIDDEN, "blocked", "One of you blocks the other"),
    NotYoursError: Kind(HTTPStatus.FORBIDDEN, "not-yours", "This is another reader's to do"),
    CidConflictError: Kind(HTTPStatus.CONFLICT, "cid-conflict", "The cid names another message"),
    TooLateError: Kind(HTTPStatus.CONFLICT, "too-late", "The time for this is over"),
    TooLongError: Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "message-too-long", "The message is too long"
    ),
    InvalidError: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", _INVALID),
    QuotaError: Kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "enough-for-today",
        "This was done too often today",
        retry_after_s=3600,
    ),
    DeadlineExceededError: _LATE,
    TimeoutError: _LATE,
    RedisError: _STORE,
    OperationalError: _STORE,
    InterfaceError: _STORE,
    PoolTimeoutError: _STORE,
    KeyUntoldError: _STORE,
}

DEFECT = Kind(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal-error",
    "Something went wrong on this side",
    detail=_say("the request id finds it in the log"),
)


# What a proxy in front says of this process (deploy/nginx.conf); here for the list of all.
AWAY = Kind(HTTPStatus.BAD_GATEWAY, "gateway-away", "The gateway does not answer", retry_after_s=1)


def find_kind(ex: Exception) -> Kind:
    """How `ex` is answered: by the row of its class, or of the nearest class it derives from."""
    kind = next((PROBLEMS[kind] for kind in type(ex).__mro__ if kind in PROBLEMS), DEFECT)
    if kind is _UNFIT and isinstance(ex, falcon.HTTPError):
        return replace(kind, status=HTTPStatus(ex.status_code))
    return kind


def encode_problem(ex: Exception, kind: Kind, *, instance: str, request_id: str) -> bytes:
    """The body of an answer that is a problem."""
    errors = kind.errors(ex)
    problem = Problem(
        type=f"{TYPE_PREFIX}{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=kind.detail(ex),
        instance=instance,
        request_id=request_id,
        errors=dict(errors) if errors else None,
    )
    return msgspec.json.encode(problem)


def answer_problem(
    req: falcon.Request, resp: falcon.Response, ex: Exception, _params: Mapping[str, Any]
) -> None:
    """Falcon's error handler for everything."""
    kind = find_kind(ex)
    _log(kind, ex)
    req.context.problem = kind.slug
    resp.status = int(kind.status)
    resp.content_type = PROBLEM_JSON
    resp.data = encode_problem(
        ex, kind, instance=falcon.uri.encode(req.path), request_id=request_id_of(req)
    )
    if isinstance(ex, falcon.HTTPError) and ex.headers:
        resp.set_headers(ex.headers)
    resp.set_headers(dict(kind.headers(ex)))
    if kind.retry_after_s is not None:
        resp.set_header("Retry-After", str(kind.retry_after_s))


def _log(kind: Kind, ex: Exception) -> None:
    if kind is DEFECT:
        log.error("unexpected_error", exc_info=ex)
    elif kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request_failed", problem=kind.slug, error=repr(ex))
