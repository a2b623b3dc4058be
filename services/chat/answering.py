"""What the editors' desk answers: a question is read by rules, and put to the recommender, the shop
or the articles.

Every call has a deadline, and what does not answer is apologised for in the language of the
question: a reader who asks always gets an answer. An unforeseen error is one too, which is logged.
Rejected: trying again until it can be answered; a reader would wait for an hour for what was new
then.

    answering.answer(7, [Said(7, "what is new in sport")])  # "New in Sport:\\n#12 Ice on the river"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from prometheus_client import Counter
from redis import Redis, RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.process.clock import Clock, milliseconds
from tidings.process.deadline import Deadline, DeadlineExceededError, deadline_scope
from tidings.reading.lately import read_lately
from tidings.reading.pages import LONGEST_PAGE
from tidings.rpc.errors import RpcError
from tidings.shop import orders
from tidings.store.retry import is_passing
from tidings.talk.desk import answers
from tidings.talk.desk.answers import Named, Placed
from tidings.talk.desk.questions import Question, Subject, find_channel, read_question
from tidings.talk.desk.stored import Said
from tidings.talk.members import DESK_ID
from tidings_idl.recommend import ttypes

# A line each: as many as are read at a glance.
MOST_NAMED = 5
MOST_CHANNELS = 30
# A person who has asked waits longer than a page that loads.
CALL_MS = 2000
ANSWER_MS = 5000
# A stamp that is younger asks the recommender for a new batch rather than for the one of its name.
FRESH_MS = 1000

log = structlog.get_logger(__name__)
_ANSWERS = Counter(
    "tidings_chat_desk_answers",
    "Questions to the editors' desk, by subject and what came of them",
    ["subject", "outcome"],
)
_AWAY = (RpcError, DeadlineExceededError, RedisError, TimeoutError)
_idl: Any = ttypes  # NOTE: generated classes carry no annotations


class Recommender(Protocol):
    """The RPC client, as far as the desk needs one."""

    def call(self, method: str, request: Any, deadline: Deadline | None = None) -> Any: ...


class Answering:
    """Answers questions. One for a node, in any coroutine.

    Args:
        engine: the database.
        redis: what readers saw last.
        recommender: the Thrift service.
        articles: ids → titles.
        channels: their names.
        clock: now, in ms since the epoch.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        redis: Redis,
        recommender: Recommender,
        articles: Articles,
        channels: Channels,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._redis = redis
        self._recommender = recommender
        self._articles = articles
        self._channels = channels
        self._clock = clock
        self._ways: dict[Subject, Callable[[int, Question, Sequence[Said]], str]] = {
            Subject.NEW: self._tell_new,
            Subject.SIMILAR: self._tell_similar,
            Subject.WHY: self._tell_why,
            Subject.ORDERS: self._tell_orders,
            Subject.HELP: self._tell_help,
            Subject.UNKNOWN: self._tell_unknown,
        }

    def answer(self, reader_id: int, said: Sequence[Said]) -> str:
        """The answer to a reader's question.

        Args:
            reader_id: who asks.
            said: the question, and what was said before it, newest first.
        """
        question = read_question(said[0].body)
        outcome = "answered"
        try:
            with deadline_scope(Deadline.after_ms(ANSWER_MS)):
                return self._ways[question.subject](reader_id, question, said)
        except Exception as ex:
            is_away = isinstance(ex, _AWAY) or (
                isinstance(ex, SQLAlchemyError) and is_passing(ex) is not None
            )
            outcome = "away" if is_away else "failed"
            log.warning(
                "desk_answer_failed",
                subject=question.subject.value,
                error=repr(ex),
                exc_info=None if is_away else ex,
            )
            return answers.tell(question.language, "away")
        finally:
            _ANSWERS.labels(question.subject.value, outcome).inc()

    def _tell_help(self, _reader_id: int, question: Question, _said: Sequence[Said]) -> str:
        return answers.tell(question.language, "help", channel=self._a_channel())

    def _tell_unknown(self, _reader_id: int, question: Question, _said: Sequence[Said]) -> str:
        return answers.tell_unknown(question.language, self._a_channel())

    def _a_channel(self) -> str:
        """One that this site has, to ask about; "for you" stands first among them."""
        return self._channels.channels()[-1].name

    def _tell_new(self, reader_id: int, question: Question, _said: Sequence[Said]) -> str:
        language, channels = question.language, self._channels.channels()
        names = [(channel.slug, channel.name) for channel in channels]
        place = find_channel(question.channel, names) if question.channel else 0
        if place is None:
            known = ", ".join(channel.name for channel in channels[:MOST_CHANNELS])
            return answers.tell(language, "no_channel", written=question.channel, channels=known)
        request = _idl.UserRequest(
            user_id=reader_id, channel_id=channels[place].channel_id, article_num=MOST_NAMED
        )
        feed = self._call("user_recommend", request)
        found = self._name([article.article_id for article in feed.recommends or ()])
        if not found:
            return answers.tell(language, "nothing_new")
        if not question.channel:
            return answers.list_articles(language, "new", found)
        return answers.list_articles(language, "new_in", found, channel=channels[place].name)

    def _tell_similar(self, reader_id: int, question: Question, said: Sequence[Said]) -> str:
        language = question.language
        article_id = self._find_meant(reader_id, question, said)
        if article_id is None:
            return answers.tell(language, "which_article")
        this = self._name([article_id])
        if not this:
            return answers.tell(language, "no_article", article_id=article_id)
        request = _idl.SimilarRequest(article_id=article_id, article_num=MOST_NAMED)
        near = self._call("similar_articles", request)
        found = self._name([one.article_id for one in near.neighbours or ()])
        article = answers.name_article(this[0])
        if not found:
            return answers.tell(language, "nothing_similar", article=article)
        return answers.list_articles(language, "similar", found, article=article)

    def _tell_why(self, reader_id: int, question: Question, said: Sequence[Said]) -> str:
        language = question.language
        article_id = self._find_meant(reader_id, question, said)
        if article_id is None:
            return answers.tell(language, "which_article")
        this = self._name([article_id])
        if not this:
            return answers.tell(language, "no_article", article_id=article_id)
        reason = self._find_reason(reader_id, article_id)
        if reason is None:
            return answers.tell(language, "not_shown", article=answers.name_article(this[0]))
        kind, because_id = reason
        because = self._name([because_id]) if because_id else []
        return answers.tell_reason(language, this[0], kind, because[0] if because else None)

    def _tell_orders(self, reader_id: int, question: Question, _said: Sequence[Said]) -> str:
        with self._engine.connect() as conn:
            newest = orders.find_newest(conn, reader_id, limit=MOST_NAMED)
        placed = [
            Placed(
                order_id=order.order_id,
                status=order.status,
                total_cents=order.total_cents,
                currency=order.currency,
                expires_at=milliseconds(order.expires_at),
            )
            for order in newest
        ]
        return answers.list_orders(question.language, placed)

    def _find_meant(self, reader_id: int, question: Question, said: Sequence[Said]) -> int | None:
        """The article that a question is about: named in it, spoken of before, or read last."""
        if question.article_id is not None:
            return question.article_id
        for one in said[1:]:
            named = (
                answers.find_named(one.body)
                if one.sender_id == DESK_ID
                else read_question(one.body).article_id
            )
            if named is not None:
                return named
        return read_lately(self._redis, reader_id).article_id

    def _find_reason(self, reader_id: int, article_id: int) -> tuple[str, int] | None:
        """The kind of reason for which a reader was shown an article, empty where none is known,
        and the article that led there, or 0; None if it was not shown lately."""
        batch = read_lately(self._redis, reader_id).find_batch(article_id)
        if batch is None:
            return None
        time.sleep(max(batch.stamp_ms + FRESH_MS + 1 - self._clock(), 0) / 1000)
        request = _idl.UserRequest(
            user_id=reader_id,
            channel_id=batch.channel_id,
            article_num=min(len(batch.article_ids), LONGEST_PAGE),
            time_stamp=batch.stamp_ms,
        )
        for article in self._call("user_recommend", request).recommends or ():
            if article.article_id == article_id and article.reason is not None:
                return article.reason.kind or "", article.reason.article_id or 0
        return "", 0

    def _call(self, method: str, request: Any) -> Any:
        return self._recommender.call(method, request, deadline=Deadline.after_ms(CALL_MS))

    def _name(self, ids: Sequence[int]) -> list[Named]:
        """Those of these articles that may be shown, in their order."""
        cards = self._articles.cards(ids)
        return [Named(id_, cards[id_].title) for id_ in ids if id_ in cards]
