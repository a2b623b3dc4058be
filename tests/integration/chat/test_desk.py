"""The editors' desk, with a real recommender, and with one that is not there: each question gets
one answer, in the language in which it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from redis import Redis
from sqlalchemy import Engine, select, update

from services.chat import answering as answering_module
from services.chat.answering import Answering
from services.chat.desk import MOST_BUSY, Desk
from tests.conftest import NOWHERE, MakeSettings
from tests.integration.recommender.serving import READER, Recommender, publish_fifty, serve
from tests.lab.newsroom import SECOND_MS, Clock, Newsroom
from tests.lab.servers import wait_until
from tests.lab.shelf import Shop
from tidings.news.articles import Articles
from tidings.news.channels import Channels
from tidings.process.settings import Settings
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.store.engine import database_now, transaction
from tidings.store.redis import make_redis
from tidings.store.transacting import transact
from tidings.talk.asked import Question, asking
from tidings.talk.conversations import start_desk
from tidings.talk.desk import answers
from tidings.talk.desk.stored import Said, answer
from tidings.talk.history import ShownMessage, delete, find_messages
from tidings.talk.members import DESK_ID
from tidings.talk.sending import Send, Sent, send_many
from tidings.talk.tables import desk_question
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import Event

PATIENCE_S = 60


class Guest:
    """A reader who talks to the desk."""

    def __init__(self, engine: Engine, reader_id: int = READER) -> None:
        self.engine = engine
        self.reader_id = reader_id
        self.conversation_id = transact(
            engine, lambda conn: start_desk(conn, reader_id)
        ).conversation_id

    def ask(self, body: str, *, engine: Engine | None = None) -> Question:
        """Send a message, as a node of the chat does."""
        cid = f"c{len(self.read()) + 1}"
        send = Send(
            sender_id=self.reader_id, cid=cid, conversation_id=self.conversation_id, body=body
        )
        (sent,) = transact(engine or self.engine, lambda conn: send_many(conn, [send]))
        assert isinstance(sent, Sent)
        return Question(self.conversation_id, sent.seq)

    def read(self) -> Sequence[ShownMessage]:
        """All that was said, the oldest first."""
        with self.engine.connect() as conn:
            return find_messages(conn, self.reader_id, self.conversation_id, after=0, limit=100)

    def answers(self) -> list[str]:
        return [message.body or "" for message in self.read() if message.sender_id == DESK_ID]

    def owed(self) -> list[Question]:
        with self.engine.connect() as conn:
            return [
                Question(row.conversation_id, row.seq)
                for row in conn.execute(select(desk_question).order_by(desk_question.c.seq))
            ]


class Parrot:
    """Says what was said, once it may."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_speak = threading.Event()
        self.may_speak.set()

    def answer(self, reader_id: int, said: Sequence[Said]) -> str:
        self.asked.append(said[0].body)
        assert self.may_speak.wait(PATIENCE_S)
        return f"{reader_id}: {said[0].body}"


@pytest.fixture
def guest(engine: Engine) -> Guest:
    return Guest(engine)


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    one = Parrot()
    yield one
    one.may_speak.set()


def make_answering(engine: Engine, redis: Redis, client: object, clock: Clock) -> Answering:
    return Answering(
        engine=engine,
        redis=redis,
        recommender=client,  # type: ignore[arg-type]
        articles=Articles(engine, redis, card_ttl_s=60, clock=clock),
        channels=Channels(engine, clock=clock),
        clock=clock,
    )


class TestWithARecommender:
    """On SQLite, since what is asked of the database is asked on both elsewhere; and with time."""

    @pytest.fixture(autouse=True)
    def patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CALL_MS", "ANSWER_MS"):
            monkeypatch.setattr(answering_module, name, 60_000)

    @pytest.fixture
    def database_url(self, sqlite_url: str) -> str:
        return sqlite_url

    @pytest.fixture
    def settings(self, make_settings: MakeSettings, sqlite_url: str, redis_url: str) -> Settings:
        return make_settings(database_url=sqlite_url, redis_url=redis_url, redis_timeout_s=30)

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def redis(self, settings: Settings) -> Iterator[Redis]:
        with make_redis(settings.redis) as client:
            yield client

    @pytest.fixture
    def recommender(
        self, settings: Settings, engine: Engine, redis: Redis, clock: Clock
    ) -> Iterator[Recommender]:
        Newsroom(engine, clock).channels(1, 2)
        with serve(settings, engine, redis, clock) as serving:
            publish_fifty(serving)
            yield serving

    @pytest.fixture
    def ask(
        self, recommender: Recommender, engine: Engine, redis: Redis, clock: Clock
    ) -> Callable[..., str]:
        answering = make_answering(engine, redis, recommender.client, clock)
        said: list[Said] = []

        def put(body: str) -> str:
            said.insert(0, Said(READER, body))
            told = answering.answer(READER, list(said))
            said.insert(0, Said(DESK_ID, told))
            clock.advance(2 * SECOND_MS)
            return told

        return put

    def test_what_is_new_is_five_articles_by_number_and_title(
        self, ask: Callable[..., str], recommender: Recommender
    ) -> None:
        heading, *lines = ask("what is new").splitlines()

        assert heading == "New for you:"
        assert len(lines) == 5
        for line in lines:
            id_, _, title = line.removeprefix("#").partition(" ")
            assert title.startswith("Title ")
            assert int(id_) > 0

    def test_what_was_named_is_not_named_again(self, ask: Callable[..., str]) -> None:
        first, second = (set(ask("有什么新的").splitlines()[1:]) for _ in range(2))

        assert first
        assert not first & second

    def test_a_channel_is_found_and_one_that_is_not_there_is_answered_with_those_that_are(
        self, ask: Callable[..., str]
    ) -> None:
        assert ask("what is new in channel 1").startswith("New in Channel 1:\n#")
        assert "Channel 1, Channel 2" in ask("what is new in gardening")
        assert "“园艺”" in ask("园艺频道有什么新的")

    def test_why_tells_the_reason_of_the_article_that_was_named_last(
        self, ask: Callable[..., str]
    ) -> None:
        first = ask("what is new").splitlines()[1]
        reason = "it is new, and few have seen it yet"
        assert ask("why did I see this?") == f"{first} is there because {reason}."
        number = first.partition(" ")[0]
        assert ask(f"为什么推荐 {number}").startswith(f"给你看 {first}，是因为")

    def test_what_was_not_shown_has_no_reason(self, ask: Callable[..., str]) -> None:
        assert "was not shown to you lately" in ask("why 1")
        assert ask("why 999") == "There is no article #999."

    def test_similar_names_what_others_read_after_it(
        self, ask: Callable[..., str], recommender: Recommender
    ) -> None:
        for reader in range(100, 140):
            recommender.click(reader, 1, 2)

        heading, *lines = ask("similar to 1").splitlines()
        assert heading.startswith("Like #1 Title ")
        assert "#2 Title 2" in lines
        assert ask("更多这样的").startswith("与 #1 ")

    def test_this_is_what_the_reader_opened_last_where_nothing_was_spoken_of(
        self, ask: Callable[..., str], recommender: Recommender
    ) -> None:
        shown = recommender.ask().recommends[3]
        recommender.clock.advance(2 * SECOND_MS)
        recommender.report(Event(shown.track.click, recommender.clock()))

        assert f"#{shown.article_id} " in ask("why did I see this")

    def test_a_reader_of_whom_nothing_is_known_is_asked_which_article(
        self, ask: Callable[..., str]
    ) -> None:
        assert "similar to 123" in ask("more like this")

    def test_orders_are_the_readers_own(self, ask: Callable[..., str], engine: Engine) -> None:
        assert ask("my orders") == "You have no orders."
        shop = Shop(engine)
        mine = shop.order((1, 2), reader_id=READER)
        shop.order((1, 1), reader_id=READER + 1)

        told = ask("我的订单")
        assert told.splitlines()[1].startswith(f"订单 {mine.order_id}：2.00 EUR，未付款")
        assert len(told.splitlines()) == 2

    def test_all_else_is_answered_with_what_can_be_asked(self, ask: Callable[..., str]) -> None:
        assert ask("help").startswith("You can ask me:")
        assert ask("tell me a joke").endswith(ask("help"))


def test_where_no_recommender_answers_the_desk_apologises_in_the_language_of_the_question(
    engine: Engine, redis_client: Redis
) -> None:
    policy = Policy(timeout_ms=200)
    with make_client(UserRecommend, (NOWHERE,), policy=policy, caller="tests") as client:
        answering = make_answering(engine, redis_client, client, Clock())
        told = [answering.answer(READER, [Said(READER, asked)]) for asked in ("news", "有什么新的")]

    assert told == [answers.tell("en", "away"), answers.tell("zh", "away")]


def test_where_redis_is_away_the_desk_apologises(engine: Engine) -> None:
    with Redis(host="127.0.0.1", port=1, socket_timeout=0.2) as nowhere:
        answering = make_answering(engine, nowhere, None, Clock())
        assert answering.answer(READER, [Said(READER, "why")]) == answers.tell("en", "away")


def test_an_error_nobody_thought_of_is_an_apology(engine: Engine, redis_client: Redis) -> None:
    class Broken:
        def call(self, *_: object, **__: object) -> object:
            raise ZeroDivisionError

    answering = make_answering(engine, redis_client, Broken(), Clock())

    assert answering.answer(READER, [Said(READER, "news")]) == answers.tell("en", "away")


def test_a_question_is_answered_after_its_commit(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    desk = Desk(engine, parrot)
    guest.ask("news", engine=asking(engine, desk.ask))

    wait_until(lambda: bool(guest.answers()), PATIENCE_S, "an answer")
    assert guest.answers() == ["7: news"]
    assert guest.owed() == []


def test_questions_of_one_conversation_are_answered_in_their_order(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    desk = Desk(engine, parrot)
    parrot.may_speak.clear()
    for n in range(4):
        guest.ask(f"question {n}", engine=asking(engine, desk.ask))
    parrot.may_speak.set()

    wait_until(lambda: len(guest.answers()) == 4, PATIENCE_S, "four answers")
    assert guest.answers() == [f"7: question {n}" for n in range(4)]


def test_what_a_dead_node_left_is_answered_by_another_once_and_only_when_its_time_is_over(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    """The first node commits the question, and is gone before it answers."""
    question = guest.ask("news", engine=asking(engine, lambda _: None))
    desk = Desk(engine, parrot)
    desk.look()
    assert parrot.asked == []

    with transaction(engine) as conn:
        conn.execute(update(desk_question).values(taken_until=database_now(conn)))
    desk.look()
    wait_until(lambda: guest.owed() == [], PATIENCE_S, "no question to be owed")
    desk.look()
    assert guest.answers() == ["7: news"]
    assert question.seq == 1


def test_a_question_that_was_held_before_the_clock_was_set_back_is_answered(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    guest.ask("news", engine=asking(engine, lambda _: None))
    with transaction(engine) as conn:
        until = conn.execute(desk_question.select()).one().taken_until + timedelta(hours=1)
        conn.execute(update(desk_question).values(taken_until=until))

    Desk(engine, parrot).look()

    wait_until(lambda: guest.answers() == ["7: news"], PATIENCE_S, "an answer")


def test_two_nodes_that_answer_the_same_question_store_one_answer(
    engine: Engine, guest: Guest
) -> None:
    """The second is late: its hold was over while it asked the recommender."""
    question = guest.ask("news", engine=asking(engine, lambda _: None))
    for body in ("the first", "the second"):
        transact(engine, lambda conn, body=body: answer(conn, question, body))  # type: ignore[misc]

    assert guest.answers() == ["the first"]


def test_a_node_that_dies_before_the_commit_of_its_answer_leaves_the_question(
    engine: Engine, guest: Guest
) -> None:
    question = guest.ask("news")

    def die() -> None:
        with transaction(engine) as conn:
            answer(conn, question, "almost")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert guest.answers() == []
    assert guest.owed() == [question]


def test_a_question_of_a_program_without_a_desk_is_due_at_once(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    guest.ask("news")
    Desk(engine, parrot).look()

    wait_until(lambda: bool(guest.answers()), PATIENCE_S, "an answer")


def test_a_full_desk_makes_no_reader_wait_and_leaves_the_rest_to_the_next_look(
    engine: Engine, parrot: Parrot
) -> None:
    desk = Desk(engine, parrot)
    guests = [Guest(engine, reader_id) for reader_id in range(100, 100 + MOST_BUSY + 2)]
    parrot.may_speak.clear()
    for one in guests:
        one.ask("news", engine=asking(engine, desk.ask))
    wait_until(lambda: len(parrot.asked) == MOST_BUSY, PATIENCE_S, "a full desk")
    parrot.may_speak.set()
    wait_until(lambda: len(guests[0].owed()) == 2, PATIENCE_S, "eight answers")

    with transaction(engine) as conn:
        conn.execute(update(desk_question).values(taken_until=database_now(conn)))
    desk.look()
    wait_until(lambda: guests[0].owed() == [], PATIENCE_S, "the last two answers")
    assert [len(one.answers()) for one in guests] == [1] * len(guests)


def test_an_answer_that_cannot_be_stored_is_tried_again_by_a_later_look(
    engine: Engine, guest: Guest
) -> None:
    class Failing(Parrot):
        def answer(self, reader_id: int, said: Sequence[Said]) -> str:
            told = super().answer(reader_id, said)
            if len(self.asked) == 1:
                raise OSError("the disk is full")
            return told

    parrot = Failing()
    desk = Desk(engine, parrot)
    guest.ask("news", engine=asking(engine, desk.ask))
    wait_until(lambda: len(parrot.asked) == 1, PATIENCE_S, "the first try")
    assert len(guest.owed()) == 1

    def look() -> bool:
        with transaction(engine) as conn:
            conn.execute(update(desk_question).values(taken_until=database_now(conn)))
        desk.look()
        return guest.owed() == []

    wait_until(look, PATIENCE_S, "an answer")
    assert guest.answers() == ["7: news"]


def test_a_question_that_was_deleted_meanwhile_is_not_answered(
    engine: Engine, guest: Guest, parrot: Parrot
) -> None:
    question = guest.ask("news")
    transact(
        engine,
        lambda conn: delete(conn, READER, guest.conversation_id, seq=question.seq),
    )
    Desk(engine, parrot).look()

    wait_until(lambda: guest.owed() == [], PATIENCE_S, "the question to be forgotten")
    assert parrot.asked == []


def test_what_the_desk_says_is_no_question(engine: Engine, guest: Guest) -> None:
    question = guest.ask("news")
    transact(engine, lambda conn: answer(conn, question, "what is new"))

    assert guest.owed() == []
