"""Who changes something, and the transaction in which it is changed.

What may be done depends on the role of a key, and every change is in the audit log with its actor.
So both travel together, as one value, through every verb. Rejected: the actor in a context
variable; a verb that forgot to ask for it would run as its caller's caller.

    perform(engine, shell_actor(), articles, lambda act: publish(act, 42))
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine

from tidings.editing import audit
from tidings.news.articles import Articles
from tidings.readers.keys import Key, Role
from tidings.store.transacting import transact

T = TypeVar("T")
# The digests of the versions that were seen; None accepts whatever it is now.
Seen = Collection[str] | None


class NotAllowedError(Exception):
    """The actor's role is too small for it, or the article is another's or out already."""


class StaleRecordError(Exception):
    """What was changed meanwhile is not changed again by one who has not seen that."""

    def __init__(self, noun: str, noun_id: int) -> None:
        super().__init__(f"{noun} {noun_id} was changed meanwhile; read it again")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        name: `key:NAME`, `shell:USER` or `job:NAME`.
        role: what they may do.
        reader_id: as whom a key reads and writes.
        key_id: of a key: what it creates belongs to a source of its own. Others write for the
            source `editor`.
    """

    name: str
    role: Role
    reader_id: int | None = None
    key_id: int | None = None

    @property
    def is_editor(self) -> bool:
        """Whether every article is theirs to change."""
        return self.role.covers(Role.EDITOR)


def key_actor(key: Key) -> Actor:
    """A program or a member of staff, by their key."""
    return Actor(f"key:{key.name}", key.role, reader_id=key.reader_id, key_id=key.key_id)


def shell_actor() -> Actor:
    """The operator at the shell: its user, as the system names it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = str(os.getuid())
    return Actor(f"shell:{user}"[: audit.MOST_ACTOR], Role.OPERATOR)


def job_actor(name: str) -> Actor:
    """A job, by its name."""
    return Actor(f"job:{name}", Role.OPERATOR)


@dataclass(frozen=True, slots=True)
class Act:
    """A change that is being made.

    Attributes:
        conn: in a transaction of `transaction()`, which the change and its entry in the log share.
        actor: who makes it.
        articles: whose caches follow once the transaction has committed.
    """

    conn: Connection
    actor: Actor
    articles: Articles

    def note(
        self,
        verb: str,
        noun: str,
        noun_id: int | None,
        *,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Enter it in the audit log; if that cannot be written, nothing is changed."""
        audit.note(
            self.conn,
            self.actor.name,
            verb,
            noun,
            noun_id,
            before=before,
            after=after,
            reader_id=self.actor.reader_id,
        )

    def need(self, role: Role) -> None:
        """Raises:
        NotAllowedError: the actor's role is smaller.
        """
        if not self.actor.role.covers(role):
            raise NotAllowedError(f"this needs the role {role.value}")


def perform(engine: Engine, actor: Actor, articles: Articles, work: Callable[[Act], T]) -> T:
    """Do a change in a transaction of its own, and anew if another was in its way.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed, or another was in the way every time.
    """
    return transact(engine, lambda conn: work(Act(conn, actor, articles)))
