"""What a resource says of itself, and how that becomes `/openapi.json` and `/docs`.

Each resource carries its own `operations`, so that a route and its description are written,
reviewed and tested together; schemas come from the very types that answers are encoded from, and
what the middleware does for a resource is told from the attributes that the middleware goes by: who
may call, what caches may keep, what is limited. No status stands for all others, so one that is not
described is a fault that a test finds. Rejected: a description written by hand in one file, which
is true on the day it is written.

    describe({"/channels": ChannelsResource(channels)}, about="Tidings: articles.", version="0.1")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from tidings.http.caching import NOT_KEPT, Caching, caching_of, private_of
from tidings.http.caller import role_needed
from tidings.http.parameters import MAX_ID, HeaderParameter, IntParameter, TextParameter
from tidings.http.problems import PROBLEM_JSON, Problem
from tidings.http.reader_id import COOKIE, HEADER, HOST_COOKIE

SCHEMAS = "#/components/schemas/{name}"
# Any request may be one that HTTP does not allow or that comes too slowly, one of too many, bring a
# key that is none, have a parameter that is unknown, or meet a defect or an outage of ours.
ANYWHERE = (
    *(HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT),
    *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_URI_TOO_LONG),
    *(HTTPStatus.EXPECTATION_FAILED, HTTPStatus.UNPROCESSABLE_ENTITY),
    *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    *(HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE),
)
# The headers that every problem of these statuses has.
PROBLEM_HEADERS = {
    "Retry-After": (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
    "WWW-Authenticate": (HTTPStatus.UNAUTHORIZED,),
}
READS = ("get", "head", "options")
IF_NONE_MATCH = HeaderParameter(
    "If-None-Match",
    "ETags of answers that the client has; 304 if one is still the same",
)
SECURITY: dict[str, dict[str, str]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A program's key, from `tidings keys add`. It wins over the others.",
    },
    "reader": {
        "type": "apiKey",
        "in": "header",
        "name": HEADER,
        "description": "An anonymous reader's signed id, from the same header of an answer.",
    },
    "host_cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": HOST_COOKIE,
        "description": "The same id, as browsers bring it over HTTPS. A write needs a sign that "
        "a page of this site asked for it, or that no page did.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The same id, as browsers bring it over HTTP.",
    },
}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": (
        "Names the request in the logs; taken over from it if it is well formed",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    ),
    "Vary": ("The headers of the request that it was chosen by", {"type": "string"}),
    "ETag": ("Names these very bytes", {"type": "string", "pattern": '^"[^"]+"$'}),
    "Location": ("What was made", {"type": "string"}),
    "X-Reader": ("The id of a reader who is new, or whose id is signed anew", {"type": "string"}),
    "RateLimit": (
        "What is left of the limit that ends first: r requests, and more in t seconds",
        {"type": "string", "pattern": '^"[a-z-]+";r=[0-9]+;t=[0-9]+$'},
    ),
    "RateLimit-Policy": ("Limits that hold: q requests in w seconds", {"type": "string"}),
    "Retry-After": ("Seconds", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("The key that is needed", {"type": "string"}),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        answers: the type of the answer's body; None if it is not JSON.
        takes: the media types of a body that is no JSON.
        problems: the statuses of the problems that are its own, besides those of any operation.
        path_parameters: name → meaning; each is a number, but `digest`, which is a SHA-256.
        headers: those of the request that matter, besides those that say who calls.
        is_record: the answer has the ETag that a write has to bring back.
        links: the operations that go on from the answer → their parameter → where it stands there.
    """

    summary: str
    answers: Any = None
    status: HTTPStatus = HTTPStatus.OK
    body: Any = None
    takes: Sequence[str] = ()
    parameters: Sequence[IntParameter | TextParameter] = ()
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Sequence[HeaderParameter] = ()
    problems: Sequence[HTTPStatus] = ()
    is_record: bool = False
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def describe(routes: Mapping[str, object], about: str, version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document of every resource that has `operations`.

    Args:
        about: the title, a colon, and what for.
    """
    title, _, purpose = about.partition(": ")
    described = {
        path: operations for path, found in routes.items() if (operations := _operations(found))
    }
    types = [Problem]
    for operations in described.values():
        for operation in operations.values():
            types += [kind for kind in (operation.answers, operation.body) if kind is not None]
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template=SCHEMAS)
    schema_of = dict(zip(unique, schemas, strict=True))
    statuses = {
        status
        for path, operations in described.items()
        for method, operation in operations.items()
        for status in _problems(routes[path], method, operation)
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": f"{purpose.capitalize()} Moments are milliseconds since 1970; errors "
            "are RFC 9457. HEAD is answered wherever GET is.",
        },
        "paths": {
            path: {
                method: {
                    "operationId": name_operation(method, path),
                    **_describe_operation(routes[path], method, operation, schema_of),
                }
                for method, operation in operations.items()
            }
            for path, operations in described.items()
        },
        "components": {
            "schemas": components,
            "responses": {
                f"Problem{int(status)}": _describe_problem(status, schema_of[Problem])
                for status in sorted(statuses)
            },
            "securitySchemes": SECURITY,
        },
    }


def name_operation(method: str, path: str) -> str:
    """A name for generated clients: `put_article_liking` for PUT /articles/{article_id}/liking."""
    singular = re.sub(r"[a-z-]+/\{(\w+?)_id\}", r"\1", path)
    return "_".join([method, *re.findall(r"\w+", singular)])


def _operations(resource: object) -> Mapping[str, Operation]:
    operations: Mapping[str, Operation] = getattr(resource, "operations", {})
    return operations


def _is_limited(resource: object, method: str) -> bool:
    limit = getattr(resource, "limit_class", None)
    return method in limit if isinstance(limit, Mapping) else limit is not None


def _problems(resource: object, method: str, operation: Operation) -> list[HTTPStatus]:
    """Every status that a problem of this operation can have."""
    found = {*ANYWHERE, *operation.problems}
    if method not in READS or role_needed(resource, method.upper()):
        found.add(HTTPStatus.FORBIDDEN)
    if operation.body is not None:
        found.add(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return sorted(found)


def _describe_operation(
    resource: object, method: str, operation: Operation, schema_of: Mapping[Any, Any]
) -> dict[str, Any]:
    caching = caching_of(resource, method.upper())
    headers = [*operation.headers, *([IF_NONE_MATCH] if caching.is_tagged else [])]
    described: dict[str, Any] = {
        "summary": operation.summary,
        "security": _security(resource, method),
        "parameters": [
            *(_describe_path(name, meaning) for name, meaning in operation.path_parameters.items()),
            *(_describe_parameter(parameter) for parameter in operation.parameters),
            *(_describe_header(header) for header in headers),
        ],
        "responses": {
            str(int(operation.status)): {
                "description": operation.status.phrase,
                "headers": _answer_headers(resource, method, operation),
            },
            **{
                str(int(status)): {"$ref": f"#/components/responses/Problem{int(status)}"}
                for status in _problems(resource, method, operation)
            },
        },
    }
    answer = described["responses"][str(int(operation.status))]
    if operation.answers is not None:
        answer["content"] = {"application/json": {"schema": schema_of[operation.answers]}}
    if operation.links:
        answer["links"] = {
            name: {"operationId": name, "parameters": parameters}
            for name, parameters in operation.links.items()
        }
    if caching.is_tagged:
        described["responses"]["304"] = {
            "description": "The client's answer is still the same",
            "headers": _headers(caching, "X-Request-Id", "Vary", "ETag"),
        }
    bodies: dict[str, Any] = {name: {} for name in operation.takes}
    if operation.body is not None:
        bodies = {"application/json": {"schema": schema_of[operation.body]}}
    if bodies:
        described["requestBody"] = {"required": True, "content": bodies}
    return described


def _security(resource: object, method: str) -> list[dict[str, list[str]]]:
    if (role := role_needed(resource, method.upper())) is not None:
        return [{"key": [role.value]}]  # OpenAPI 3.1 takes names of roles here
    # Without any of them a new reader is made, or none is needed.
    kinds = list(SECURITY) if getattr(resource, "needs_reader", False) else ["key"]
    named: list[dict[str, list[str]]] = [{kind: []} for kind in kinds]
    return named if not getattr(resource, "mints_reader", True) else [{}, *named]


def _answer_headers(resource: object, method: str, operation: Operation) -> dict[str, Any]:
    caching = caching_of(resource, method.upper())
    always = ["X-Request-Id", "Vary"]
    if operation.status is HTTPStatus.CREATED:
        always.append("Location")
    if caching.is_tagged or operation.is_record:
        always.append("ETag")
    is_readers = getattr(resource, "needs_reader", False)
    sometimes = [HEADER] if is_readers and not role_needed(resource, method.upper()) else []
    if _is_limited(resource, method):
        sometimes += ["RateLimit", "RateLimit-Policy"]
    return _headers(caching, *always) | {name: _header(name) for name in sometimes}


def _describe_problem(status: HTTPStatus, schema: Any) -> dict[str, Any]:
    always = [name for name, statuses in PROBLEM_HEADERS.items() if status in statuses]
    return {
        "description": status.phrase,
        "headers": _headers(NOT_KEPT, "X-Request-Id", *always),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _headers(caching: Caching, *names: str) -> dict[str, Any]:
    """Headers that an answer always has. The first value of `Cache-Control` is the usual one, and
    the other is for a caller who is told all the same, by a key."""
    values = dict.fromkeys([caching.control, private_of(caching).control])
    return {
        **{name: _header(name, required=True) for name in names},
        "Cache-Control": {"required": True, "schema": {"enum": list(values)}},
    }


def _header(name: str, *, required: bool = False) -> dict[str, Any]:
    meaning, schema = HEADERS[name]
    return {"description": meaning, "required": required, "schema": schema}


def _describe_parameter(parameter: IntParameter | TextParameter) -> dict[str, Any]:
    if isinstance(parameter, TextParameter):
        schema: dict[str, Any] = {"type": "string", "maxLength": parameter.most_chars}
    else:
        schema = {
            "type": "integer",
            "minimum": parameter.low,
            "maximum": parameter.high,
            "default": parameter.default,
        }
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.meaning,
        "schema": schema,
    }


def _describe_path(name: str, meaning: str) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": MAX_ID,
    }
    if name == "digest":
        schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


def _describe_header(header: HeaderParameter) -> dict[str, Any]:
    schema = {"type": "string"}
    if header.pattern:
        schema["pattern"] = f"^(?:{header.pattern})$"
    return {
        "name": header.name,
        "in": "header",
        "required": header.is_required,
        "description": header.meaning,
        "schema": schema,
    }
