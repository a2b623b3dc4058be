"""The editors' desk of a node: each question gets one answer, and no socket waits for it.

A question is answered in a coroutine of its own, of which there are few; of one conversation one at
a time, so that answers stand in the order of the questions. What there is no room for stays owed,
and is taken by the next look of any node, as is what a node that died has left. Rejected: to answer
where the question is stored; a recommender that hangs would hold up every message of the node.

    desk = make_desk(settings, redis, engine)
    engine = asking(engine, desk.ask)  # what is stored by it is answered
    Watched("desk", desk.look).start()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge
from redis import Redis
from sqlalchemy import Engine

from services.chat.answering import CALL_MS, Answering
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.process.clock import now_ms
from tidings.process.settings import Settings
from tidings.rpc.calling.recommender import make_recommender
from tidings.store.transacting import transact
from tidings.talk import asked
from tidings.talk.asked import Question
from tidings.talk.desk.stored import Said, answer, read_asked

# Answers under way in a node; the recommender serves pages besides.
MOST_BUSY = 8
# Questions of one conversation that wait in memory; a reader who sends more waits for a look.
MOST_WAITING = 20
LOOK_EVERY_S = 1.0
# Messages before a question among which "this" is looked for.
EARLIER = 20

log = structlog.get_logger(__name__)
_BUSY = Gauge("tidings_chat_desk_busy", "Conversations that the desk is answering in")
_LEFT = Counter("tidings_chat_desk_left", "Questions left to a later look, by cause", ["cause"])


class Answers(Protocol):
    """What says the answers."""

    def answer(self, reader_id: int, said: Sequence[Said]) -> str: ...


class Desk:
    """One for a node.

    Args:
        engine: stores the answers.
        answering: makes them.
    """

    def __init__(self, engine: Engine, answering: Answers) -> None:
        self._engine = engine
        self._answering = answering
        self._lock = threading.Lock()
        self._waiting: dict[int, deque[Question]] = {}  # by conversation

    def ask(self, question: Question) -> None:
        """Have a question answered that this node holds. Never waits."""
        with self._lock:
            queue = self._waiting.get(question.conversation_id)
            if queue is not None:
                if len(queue) < MOST_WAITING:
                    queue.append(question)
                else:
                    _LEFT.labels("many").inc()
                return
            if len(self._waiting) >= MOST_BUSY:
                _LEFT.labels("busy").inc()
                return
            self._waiting[question.conversation_id] = deque([question])
            _BUSY.set(len(self._waiting))
        name = f"desk-{question.conversation_id}"
        threading.Thread(
            target=self._work, args=(question.conversation_id,), name=name, daemon=True
        ).start()

    def look(self) -> None:
        """Take what no node answers, as far as there is room, and wait for the next look."""
        room = MOST_BUSY - len(self._waiting)
        if room > 0:
            for question in asked.claim(self._engine, limit=room):
                self.ask(question)
        time.sleep(LOOK_EVERY_S)

    def _work(self, conversation_id: int) -> None:
        """Answer what was asked in one conversation, in order, until nothing more waits."""
        while True:
            with self._lock:
                queue = self._waiting[conversation_id]
                if not queue:
                    del self._waiting[conversation_id]
                    _BUSY.set(len(self._waiting))
                    return
                question = queue.popleft()
            try:
                self._answer(question)
            except Exception as ex:  # noqa: BLE001 - counted and logged; a later look takes it again
                _LEFT.labels("not_stored").inc()
                log.warning(
                    "desk_answer_not_stored",
                    conversation_id=conversation_id,
                    seq=question.seq,
                    error=repr(ex),
                )

    def _answer(self, question: Question) -> None:
        with self._engine.connect() as conn:
            said = read_asked(conn, question, earlier=EARLIER)
        if not said:
            return
        if not said[0].body:
            # Deleted by the reader meanwhile: they do not want to know any more.
            transact(self._engine, lambda conn: asked.forget(conn, question))
            return
        body = self._answering.answer(said[0].sender_id, said)
        transact(self._engine, lambda conn: answer(conn, question, body))


def make_desk(settings: Settings, redis: Redis, engine: Engine) -> Desk:
    """The desk of a node, which has connected to nothing yet.

    Args:
        settings: where the recommenders are.
        redis: what readers saw last, and cards.
        engine: stores the answers, and has them told.

    Raises:
        SettingsError: the recommenders cannot be spoken to as it is set.
    """
    recommender = make_recommender(
        settings.recommender, caller="chat", timeout_ms=CALL_MS, pool_size=MOST_BUSY
    )
    articles = Articles(engine, redis, card_ttl_s=settings.gateway.card_ttl_s, clock=now_ms)
    answering = Answering(
        engine=engine,
        redis=redis,
        recommender=recommender,
        articles=articles,
        channels=Channels(engine, clock=now_ms),
        clock=now_ms,
    )
    return Desk(engine, answering)
