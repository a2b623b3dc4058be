"""Mistakes that people make in a chat, as changes to a copy of the tree, for the ledgers to catch.

A change is an exact piece of the source, which has to stand there once: when the source moves on,
the change fails rather than doing nothing.

    tree = make_mutant("ack before commit", tmp_path / "tree")
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.world import REPOSITORY

COPIED = ("tidings", "services", "gen-py", "idl")


@dataclass(frozen=True, slots=True)
class Change:
    """A piece of one file, and what stands in its place."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """Changes, the scenario in which they show, and promises that they break: one at least."""

    changes: Sequence[Change]
    scenario: str
    breaks: Sequence[str]


# A busy disk, so that a fault is not likely to fall between two commits.
_SLOW_DISK = "time.sleep(0.2)"
MUTANTS: dict[str, Mutant] = {
    # "The sender need not wait for the disk."
    "ack before commit": Mutant(
        [
            Change(
                "services/chat/writer.py",
                old="return self._store([waiting.send for waiting in batch])",
                new=f"""
            def store(conn):
                outcomes = send_many(conn, [waiting.send for waiting in batch])
                _answer(batch, outcomes)
                {_SLOW_DISK}
                return outcomes

            with deadline_scope(Deadline.after_ms(STORED_WITHIN_MS)):
                return transact(self._engine, store)""",
            ),
            Change(
                "services/chat/writer.py",
                old="            time.sleep(0)\n            _answer(batch, outcomes)\n",
                new="            time.sleep(0)\n            del outcomes\n",
            ),
        ],
        scenario="kill -9 of a node",
        breaks=("lost",),
    ),
    # "It was connected a moment ago; the position proves that."
    "resume without authentication": Mutant(
        [
            Change(
                "services/chat/session.py",
                old="admission = self._owner.admit(hello.ticket)",
                new="""admission = (
                Admission(int(_claims(hello.ticket)["sub"]), None, None)
                if hello.pos
                else self._owner.admit(hello.ticket)
            )""",
            ),
            Change(
                "services/chat/session.py",
                old="class Session:",
                new="""def _claims(ticket):
    import jwt

    return jwt.decode(ticket, options={"verify_signature": False})


class Session:""",
            ),
        ],
        scenario="no fault",
        breaks=("let_in",),
    ),
    # "The receiver has it sooner."
    "push before commit": Mutant(
        [
            Change(
                "tidings/talk/outbox.py",
                old="after_commit(conn, lambda: tell(posted))",
                new=f"tell(posted)\n        import time\n\n        {_SLOW_DISK}",
            ),
        ],
        scenario="kill -9 of a node",
        breaks=("never_stored", "altered", "doubled"),
    ),
}


def make_mutant(name: str, tree: Path) -> Path:
    """A copy of the programs with this mistake in them."""
    for folder in COPIED:
        shutil.copytree(
            REPOSITORY / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for change in MUTANTS[name].changes:
        path = tree / change.path
        source = path.read_text()
        found = source.count(change.old)
        assert found == 1, f"{change.path} has {found} times:\n{change.old}"
        path.write_text(source.replace(change.old, change.new))
    return tree
