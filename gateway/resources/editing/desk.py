"""What all routes of editors share: who acts, and the transaction in which it is done.

The same verbs as at the command line, in `tidings.editing`: here is only what a request says and
what it is answered. Rejected: a service object with a method for each verb, which would repeat
every signature of them.

    desk.change(req, lambda act: take_down(act, 42, expected=read_if_match(req)))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import falcon
from sqlalchemy import Engine

from tidings.editing.acting import Act, Actor, key_actor, perform
from tidings.http.cursors import Cursors
from tidings.http.preconditions import PROBLEMS as PRECONDITIONS
from tidings.news.articles import Articles

T = TypeVar("T")
# What may come of a write of a record, besides what may come of any request.
WRITE_PROBLEMS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
# What may come of a change of a record that names the version it was made from.
CHANGE_PROBLEMS = (*WRITE_PROBLEMS, *PRECONDITIONS)
READ_PROBLEMS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where editors work.

    Attributes:
        engine: where everything is stored.
        articles: whose caches follow what is changed.
        cursors: sign where lists go on.
        max_body_bytes: of a request.
    """

    engine: Engine
    articles: Articles
    cursors: Cursors
    max_body_bytes: int

    def change(self, req: falcon.Request, work: Callable[[Act], T]) -> T:
        """Do something in a transaction of its own, and again if another was first."""
        return perform(self.engine, actor_of(req), self.articles, work)


def actor_of(req: falcon.Request) -> Actor:
    """Who calls, on a route that needs a key."""
    key = req.context.caller.key
    assert key is not None
    return key_actor(key)
