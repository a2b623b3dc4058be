"""What stands behind the sockets: it joins them to the hub, and does what their frames ask for.

Each kind of frame has its way. Messages go to the writer, which stores many together. Other changes
are done beside the sockets by a few coroutines. Who types is told and not stored. So nothing here
waits for the database in a coroutine that reads a socket, but the count of what is unread on
joining, which a client that comes back to a full window does not need. Rejected: to do each frame
where it is read; a database that is away would leave all pings unanswered.

    door = Door(host=Talk(engine=engine, hub=hub, writer=writer, ...), ...)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.chat.changes import RETRY_AFTER_MS, Changes
from services.chat.following import read_topic
from services.chat.frames import (
    MOST_TOPICS,
    Ack,
    ClientFrame,
    Delete,
    Edit,
    Ok,
    Read,
    ReadNotices,
    Subscribe,
    Typing,
    Unread,
    Unsubscribe,
    Welcome,
)
from services.chat.frames import Send as SendFrame
from services.chat.hosting import RefusedError, Socket, UnavailableError
from services.chat.hub import BusAwayError, Hub
from services.chat.live import Presence, live_entry, presence_topic
from services.chat.live import Typing as TypingEvent
from services.chat.presence import PresenceBoard
from services.chat.publisher import Publisher
from services.chat.writer import Outcome, Unsent, Writer
from tidings.process.clock import milliseconds
from tidings.process.deadline import Deadline, DeadlineExceededError, deadline_scope
from tidings.readers.keys import Role
from tidings.store.transacting import transact
from tidings.talk.errors import TalkError
from tidings.talk.history import delete, edit
from tidings.talk.marks import count_unread, mark_read
from tidings.talk.members import find_audience, share_conversation
from tidings.talk.notices import OPERATORS, count_unread_notices, mark_notices_read
from tidings.talk.sending import Refused, Send, Sent

# A welcome without the counts is better than none: the client can read them by REST.
COUNTED_WITHIN_MS = 1000
# A crowd that joins afresh must leave connections for those who write.
COUNTED_AT_ONCE = 3
# Clients say so every few seconds while somebody types.
TYPED_EVERY_S = 2.0
MOST_TYPING = 10_000

log = structlog.get_logger(__name__)


class Talk:
    """The host of a node's sockets."""

    def __init__(
        self,
        *,
        engine: Engine,
        hub: Hub,
        writer: Writer,
        publisher: Publisher,
        presence: PresenceBoard,
        changes: Changes,
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._writer = writer
        self._publisher = publisher
        self._presence = presence
        self._changes = changes
        self._asked: dict[tuple[Socket, str], Subscribe] = {}
        self._typed: dict[tuple[int, int], float] = {}
        self._counting = threading.BoundedSemaphore(COUNTED_AT_ONCE)

    def join(self, session: Socket, pos: str | None, topics: Sequence[str]) -> None:
        """The position, then the state, then what came since."""
        allowed = [topic for topic in topics if _may_follow(session, topic)]
        try:
            start = self._hub.begin(session.reader_id, allowed, pos)
        except BusAwayError as ex:
            raise UnavailableError(str(ex)) from None
        unread = None if start.is_recovered else self._count_unread(session)
        session.say(
            Welcome(
                reader_id=session.reader_id,
                pos=start.position.text,
                recovered=start.is_recovered,
                unread=unread,
            )
        )
        self._hub.join(session, start)
        self._presence.arrived(session.reader_id)

    def leave(self, session: Socket) -> None:
        """It is told nothing more."""
        self._hub.leave(session)
        if not self._hub.is_here(session.reader_id):
            self._presence.left(session.reader_id)

    def take(self, session: Socket, frame: ClientFrame) -> None:
        """Have a frame done."""
        match frame:
            case SendFrame():
                send = Send(
                    sender_id=session.reader_id,
                    cid=frame.cid,
                    conversation_id=frame.conversation_id,
                    body=frame.body,
                )
                self._writer.send(send, partial(_answer_send, session, frame))
            case Typing():
                if self._is_typing_news(session.reader_id, frame.conversation_id):
                    self._changes.add(partial(self._do, session, frame))
                else:
                    _say_ok(session, frame)
            case Subscribe() if self._is_followed_at_once(session, frame):
                _say_ok(session, frame)
            case Subscribe():
                self._ask_to_follow(session, frame)
            case Unsubscribe():
                self._asked.pop((session, frame.topic), None)
                self._hub.unsubscribe(session, frame.topic)
                _say_ok(session, frame)
            case _:
                self._changes.add(partial(self._do, session, frame))

    def _count_unread(self, session: Socket) -> Unread | None:
        """None while the database is away, or has too many to count for."""
        if not self._counting.acquire(timeout=COUNTED_WITHIN_MS / 1000):
            return None
        try:
            with deadline_scope(Deadline.after_ms(COUNTED_WITHIN_MS)):
                return _count_for(session, self._engine)
        except (SQLAlchemyError, DeadlineExceededError) as ex:
            log.warning("unread_not_counted", error=repr(ex))
            return None
        finally:
            self._counting.release()

    def _is_typing_news(self, reader_id: int, conversation_id: int) -> bool:
        now_s = time.monotonic()
        key = (reader_id, conversation_id)
        if now_s - self._typed.get(key, 0.0) < TYPED_EVERY_S:
            return False
        if len(self._typed) >= MOST_TYPING:
            self._typed.clear()  # some are told once too often
        self._typed[key] = now_s
        return True

    def _is_followed_at_once(self, session: Socket, frame: Subscribe) -> bool:
        """Follow a topic for which SQL need not be asked."""
        other_id = read_topic(frame.topic, session.role)
        if self._hub.count_topics(session) >= MOST_TOPICS:
            raise RefusedError("quota", f"a socket follows up to {MOST_TOPICS} topics")
        if other_id is None:
            self._hub.subscribe(session, frame.topic)
        return other_id is None

    def _ask_to_follow(self, session: Socket, frame: Subscribe) -> None:
        """Have SQL asked; what is unsubscribed from meanwhile will not be followed."""
        self._changes.add(partial(self._do, session, frame))
        self._asked[session, frame.topic] = frame

    def _do(self, session: Socket, frame: ClientFrame) -> None:
        """In a coroutine of its own, and answered there."""
        try:
            self._change(session, frame)
        except TalkError as ex:
            session.say(RefusedError(ex.code, str(ex)).answer(frame))
        except RefusedError as ex:
            session.say(ex.answer(frame))
        except (SQLAlchemyError, DeadlineExceededError, RedisError) as ex:
            log.warning("frame_not_done", kind=type(frame).__name__, error=repr(ex))
            session.say(_unavailable().answer(frame))
        except Exception:
            # Set aside: the loop, which pauses after a failure, does what others asked for.
            log.exception("frame_set_aside", kind=type(frame).__name__, reader_id=session.reader_id)
            session.say(RefusedError("unavailable", "it could not be done").answer(frame))
        else:
            _say_ok(session, frame)

    def _change(self, session: Socket, frame: ClientFrame) -> None:
        reader_id = session.reader_id
        match frame:
            case Edit(conversation_id=id_, seq=seq, body=body):
                transact(self._engine, lambda conn: edit(conn, reader_id, id_, seq=seq, body=body))
            case Delete(conversation_id=id_, seq=seq):
                transact(self._engine, lambda conn: delete(conn, reader_id, id_, seq=seq))
            case Read(conversation_id=id_, seq=seq):
                transact(self._engine, lambda conn: mark_read(conn, reader_id, id_, seq=seq))
            case ReadNotices(seq=seq):
                audience = _read_audience(session, frame)
                transact(
                    self._engine,
                    lambda conn: mark_notices_read(conn, reader_id, audience=audience, seq=seq),
                )
            case Typing():
                self._tell_typing(reader_id, frame.conversation_id)
            case Subscribe(topic=topic):
                try:
                    self._follow_presence(session, frame)
                finally:
                    # One that was sent later has still to be done, and ends this itself.
                    if self._asked.get((session, topic)) is frame:
                        del self._asked[session, topic]
            case _:
                raise RefusedError("invalid", "there is nothing to be done for it here")

    def _tell_typing(self, reader_id: int, conversation_id: int) -> None:
        with self._engine.connect() as conn:
            audience = find_audience(conn, conversation_id, sender_id=reader_id)
        if reader_id not in audience.to:
            return
        event = TypingEvent(conversation_id=conversation_id, reader_id=reader_id)
        hidden = {reader_id, *audience.hid}
        self._publisher.say(live_entry(event, to=audience.to, hid=hidden))

    def _follow_presence(self, session: Socket, frame: Subscribe) -> None:
        other_id = read_topic(frame.topic, session.role)
        assert other_id is not None
        with self._engine.connect() as conn:
            if not share_conversation(conn, session.reader_id, other_id):
                raise RefusedError("not_a_member", f"you share no conversation with {other_id}")
        is_here = self._presence.watch(other_id)
        if (session, frame.topic) in self._asked:
            self._hub.subscribe(session, presence_topic(other_id))
            session.say(Presence(reader_id=other_id, is_here=is_here))


def _count_for(session: Socket, engine: Engine) -> Unread:
    audiences = [session.reader_id]
    if _is_operator(session):
        audiences.append(OPERATORS)
    with engine.connect() as conn:
        conversations = count_unread(conn, session.reader_id).conversations
        notices = count_unread_notices(conn, session.reader_id, audiences=audiences)
    return Unread(conversations=conversations, notices=sum(notices.values()))


def _is_operator(session: Socket) -> bool:
    return session.role is not None and session.role.covers(Role.OPERATOR)


def _may_follow(session: Socket, topic: str) -> bool:
    """What is told live only needs no replay, so a client subscribes to it afterwards."""
    try:
        return read_topic(topic, session.role) is None
    except RefusedError:
        return False


def _read_audience(session: Socket, frame: ReadNotices) -> int:
    if frame.audience in (None, session.reader_id):
        return session.reader_id
    if frame.audience == OPERATORS and _is_operator(session):
        return OPERATORS
    raise RefusedError("not_yours", "these are another's notices")


def _answer_send(session: Socket, frame: SendFrame, outcome: Outcome) -> None:
    match outcome:
        case Sent(cid=cid, conversation_id=id_, seq=seq, at=at):
            at_ms = milliseconds(at)
            session.say(Ack(cid=cid, conversation_id=id_, seq=seq, at=at_ms, ref=frame.ref))
        case Refused(error=error):
            session.say(RefusedError(error.code, str(error)).answer(frame))
        case Unsent():
            session.say(_unavailable().answer(frame))


def _unavailable() -> RefusedError:
    return RefusedError("unavailable", "it cannot be done at the moment", RETRY_AFTER_MS)


def _say_ok(session: Socket, frame: ClientFrame) -> None:
    if frame.ref is not None:
        session.say(Ok(ref=frame.ref))
