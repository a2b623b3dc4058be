"""What a resource says of itself, and how that becomes `/openapi.json` and `/docs`.

Each resource carries its own `operations`, so that a route and its description are written,
reviewed and tested together; schemas come from the very types that answers are encoded from.
Rejected: a description written by hand in one file, which is true on the day it is written.

    description = describe({"/channels": ChannelsResource(channels)}, version="0.1.0")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from gateway.http.parameters import IntParameter, TextParameter
from gateway.http.problems import PROBLEM_JSON, Problem

REF = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        answers: the type of the answer's body; None if it is not JSON.
        problems: the statuses of the problems that are its own, besides 500 and 503.
        path_parameters: name → meaning.
        headers: name → meaning, of request headers that matter.
    """

    summary: str
    answers: Any = None
    status: HTTPStatus = HTTPStatus.OK
    body: Any = None
    parameters: Sequence[IntParameter | TextParameter] = ()
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[HTTPStatus] = ()


def describe(routes: Mapping[str, object], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document of every resource that has `operations`."""
    described = {
        path: operations for path, found in routes.items() if (operations := _operations(found))
    }
    types = [Problem]
    for operations in described.values():
        for operation in operations.values():
            types += [kind for kind in (operation.answers, operation.body) if kind is not None]
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF)
    schema_of = dict(zip(unique, schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings",
            "version": version,
            "description": "Personalised feeds of articles. Moments are milliseconds since 1970; "
            "errors are RFC 9457.",
        },
        "paths": {
            path: {
                method: _describe_operation(operation, schema_of)
                for method, operation in operations.items()
            }
            for path, operations in described.items()
        },
        "components": {"schemas": components},
    }


def _operations(resource: object) -> Mapping[str, Operation]:
    operations: Mapping[str, Operation] = getattr(resource, "operations", {})
    return operations


def _describe_operation(operation: Operation, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": operation.status.phrase}
    if operation.answers is not None:
        answer["content"] = {"application/json": {"schema": schema_of[operation.answers]}}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [
            *(_describe_path(name, meaning) for name, meaning in operation.path_parameters.items()),
            *(_describe_parameter(parameter) for parameter in operation.parameters),
            *(_describe_header(name, meaning) for name, meaning in operation.headers.items()),
        ],
        "responses": {
            str(int(operation.status)): answer,
            **{
                str(int(status)): _describe_problem(status, schema_of)
                for status in sorted(operation.problems)
            },
            "default": {
                "description": "A problem",
                "content": {PROBLEM_JSON: {"schema": schema_of[Problem]}},
            },
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    return described


def _describe_problem(status: HTTPStatus, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    return {"description": status.phrase, "content": {PROBLEM_JSON: {"schema": schema_of[Problem]}}}


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
    schema = {"type": "integer", "format": "int64", "minimum": 1}
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


def _describe_header(name: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}}
