"""Keys on both databases: what is kept of them, how soon an end is felt, and that noting their use
stands in no request's way."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from sqlalchemy import Engine, event, func, select, text, update
from sqlalchemy.exc import OperationalError

from tests.conftest import MakeSettings
from tests.lab.servers import start_mariadb, wait_until
from tidings.process.clock import moment, now_ms
from tidings.process.deadline import Deadline, DeadlineExceededError, deadline_scope
from tidings.readers import checking
from tidings.readers.checking import (
    MOST_REMEMBERED,
    REMEMBERED_S,
    REST_S,
    KeyCheck,
    KeyRefusedError,
    KeyUntoldError,
)
from tidings.readers.keys import (
    MOST_QUOTA,
    KeyNameTakenError,
    KeyNotFoundError,
    ListedKey,
    NewKey,
    Role,
    State,
    add_key,
    find_keys,
    revoke_key,
)
from tidings.readers.tables import api_key
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate

HOUR = timedelta(hours=1)
DEADLINE_S = 30


def make_key(engine: Engine, name: str = "importer", **options: Any) -> NewKey:
    with transaction(engine) as conn:
        return add_key(conn, name, Role.AUTHOR, **options)


def listed(engine: Engine) -> ListedKey:
    """The only key there is."""
    with engine.connect() as conn:
        (key,) = find_keys(conn)
    return key


def is_good(check: KeyCheck, secret: str) -> bool:
    try:
        check.find(secret)
    except KeyRefusedError:
        return False
    return True


def is_told(check: KeyCheck, secret: str) -> bool:
    try:
        return is_good(check, secret)
    except KeyUntoldError:
        return False


def is_used(engine: Engine) -> Callable[[], bool]:
    return lambda: listed(engine).last_used_at is not None


def use(engine: Engine, made: NewKey) -> None:
    """Use a key in a process of its own, and wait until all that it writes is written."""
    check = KeyCheck(engine)
    check.find(made.secret)
    check._writer.shutdown()


def change(engine: Engine, **values: datetime | None) -> None:
    with transaction(engine) as conn:
        conn.execute(update(api_key).values(**values))


def test_a_key_is_256_random_bits_of_which_only_a_hash_is_kept(engine: Engine) -> None:
    """What a stolen backup holds opens no door."""
    made = make_key(engine)

    assert re.fullmatch(r"tk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made.secret)
    with engine.connect() as conn:
        (row,) = conn.execute(select(api_key)).all()
    assert row.hash == hashlib.sha256(made.secret.encode()).hexdigest()
    assert made.secret[16:] not in str(row)
    assert KeyCheck(engine).find(made.secret) == made.key


def test_a_list_shows_the_beginning_of_a_key_and_all_that_is_known(engine: Engine) -> None:
    made = make_key(engine, quota=600)

    key = listed(engine)

    assert (key.name, key.role, key.state) == ("importer", "author", State.GOOD)
    assert (key.reader_id, key.quota) == (2**51 + key.key_id, 600)
    assert made.secret.startswith(key.prefix)
    assert (key.last_used_at, key.expires_at, key.revoked_at) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("", {}, "expected a name"),
        ("Anna", {}, "expected a name"),
        ("-x", {}, "expected a name"),
        ("two words", {}, "expected a name"),
        ("x" * 65, {}, "expected a name"),
        ("ünter", {}, "expected a name"),
        ("x", {"quota": 0}, "expected 1 to 1000000 requests"),
        ("x", {"quota": MOST_QUOTA + 1}, "expected 1 to 1000000 requests"),
        ("x", {"expires_at": moment(1_700_000_000_000)}, "a moment to come"),
    ],
)
def test_what_makes_no_key_is_refused_in_words(
    engine: Engine, name: str, options: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        make_key(engine, name, **options)


def test_a_name_is_one_key_for_ever(engine: Engine) -> None:
    """What a key did stands under its name, so no other may take it up."""
    make_key(engine)
    with transaction(engine) as conn:
        revoke_key(conn, "importer")

    with pytest.raises(KeyNameTakenError, match="importer"):
        make_key(engine)


def test_of_many_who_take_one_name_at_once_one_gets_it(engine: Engine) -> None:
    start = threading.Barrier(4)

    def take() -> bool:
        start.wait(DEADLINE_S)
        try:
            make_key(engine)
        except KeyNameTakenError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        taken = [future.result() for future in [pool.submit(take) for _ in range(4)]]

    assert sorted(taken) == [False, False, False, True]


def test_a_key_is_revoked_once_and_an_unknown_one_is_named(engine: Engine) -> None:
    make_key(engine)
    with transaction(engine) as conn:
        assert revoke_key(conn, "importer")
    since = listed(engine).revoked_at
    with transaction(engine) as conn:
        assert not revoke_key(conn, "importer")
        with pytest.raises(KeyNotFoundError, match="nothing-like-it"):
            revoke_key(conn, "nothing-like-it")

    assert listed(engine).revoked_at == since
    assert listed(engine).state is State.REVOKED


def test_every_process_feels_a_revocation_without_being_told(engine: Engine) -> None:
    """Two of them, both of which have just used the key."""
    made = make_key(engine)
    processes = KeyCheck(engine), KeyCheck(engine)
    assert all(is_good(check, made.secret) for check in processes)

    with transaction(engine) as conn:
        revoke_key(conn, "importer")
    revoked_s = time.monotonic()

    for check in processes:
        wait_until(lambda check=check: not is_good(check, made.secret), DEADLINE_S, "the end")  # type: ignore[misc]
    assert REMEMBERED_S <= 1
    # Long after what is remembered of it is over, it is as dead as at first.
    wait_until(lambda: time.monotonic() > revoked_s + 2 * REMEMBERED_S, DEADLINE_S, "two seconds")
    assert not any(is_good(check, made.secret) for check in processes)


def test_a_key_ends_by_itself_at_its_moment(engine: Engine) -> None:
    """By the database's clock, which all gateways share."""
    made = make_key(engine, expires_at=moment(now_ms()) + HOUR)
    assert is_good(KeyCheck(engine), made.secret)

    change(engine, expires_at=moment(now_ms()))

    assert not is_good(KeyCheck(engine), made.secret)
    assert listed(engine).state is State.EXPIRED


def test_a_good_key_costs_a_query_a_second_however_often_it_comes(engine: Engine) -> None:
    made = make_key(engine)
    change(engine, last_used_at=moment(now_ms()) + HOUR)
    check = KeyCheck(engine)
    queries = []
    event.listen(engine, "before_cursor_execute", lambda *args: queries.append(args[2]))

    begun_s = time.monotonic()
    for _ in range(200):
        check.find(made.secret)
    took_s = time.monotonic() - begun_s

    assert 1 <= len([sql for sql in queries if "api_key" in sql]) <= 1 + took_s / REMEMBERED_S


def test_what_is_no_key_costs_the_same_query_and_the_same_comparison(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the time of an answer would tell which beginnings exist."""
    made = make_key(engine)
    compared: list[int] = []
    compare = hmac.compare_digest

    def watch(left: str, right: str) -> bool:
        compared.append(len(right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    queries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
    beginning_known = made.secret[:16] + "A" * 43
    unknown = f"tk_{'0' * 12}_" + made.secret[16:]

    for secret in (beginning_known, unknown):
        queries.clear()
        assert not is_good(KeyCheck(engine), secret)
        assert len([sql for sql in queries if "api_key" in sql]) == 1
    assert compared == [64, 64]


def test_inventing_keys_fills_no_memory(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_key(engine)
    check = KeyCheck(engine)
    monkeypatch.setattr(checking, "MOST_REMEMBERED", 8)

    for number in range(50):
        assert not is_good(check, f"tk_{number:012x}_{'A' * 43}")

    assert len(check._remembered) <= 8 < MOST_REMEMBERED
    assert is_good(check, made.secret)


def test_a_use_is_written_at_most_once_a_minute(engine: Engine) -> None:
    """By all processes together."""
    made = make_key(engine)
    change(engine, last_used_at=None)
    writes: list[str] = []
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *args: writes.append(args[2]) if "UPDATE api_key" in args[2] else None,
    )
    use(engine, made)
    first = listed(engine).last_used_at
    assert first is not None

    for _ in range(5):
        use(engine, made)
    assert len(writes) == 1

    change(engine, last_used_at=first - timedelta(minutes=2))
    writes.clear()
    use(engine, made)
    assert len(writes) == 1
    assert (listed(engine).last_used_at or moment(0)) >= first


def test_a_refused_key_is_not_noted_as_used(engine: Engine) -> None:
    made = make_key(engine)
    check = KeyCheck(engine)

    assert not is_good(check, made.secret[:16] + "A" * 43)

    check._writer.shutdown()
    assert listed(engine).last_used_at is None


def test_a_database_that_takes_no_write_delays_no_request(engine: Engine) -> None:
    """The lock is held for as long as it takes to find the key many times over, which comes to an
    end although it is not released before; the use is written afterwards."""
    made = make_key(engine)
    check = KeyCheck(engine)
    with transaction(engine) as conn:
        conn.execute(update(api_key).values(quota=5))  # locks the row; on SQLite everything

        for _ in range(100):
            assert is_good(check, made.secret)
        with engine.connect() as other:
            assert other.scalar(select(func.count()).where(api_key.c.last_used_at.isnot(None))) == 0

    # Who waited for the lock may have given up; the next use is written then.
    wait_until(
        lambda: is_good(check, made.secret) and is_used(engine)(), DEADLINE_S, "a use to be written"
    )


def test_a_use_that_cannot_be_written_fails_no_request(engine: Engine) -> None:
    made = make_key(engine)
    check = KeyCheck(engine)
    with transaction(engine) as conn:
        trigger = (
            "CREATE TRIGGER refuse BEFORE UPDATE ON api_key BEGIN SELECT RAISE(ABORT, 'no'); END"
            if engine.dialect.name == "sqlite"
            else "CREATE TRIGGER refuse BEFORE UPDATE ON api_key FOR EACH ROW "
            "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'"
        )
        conn.execute(text(trigger))

    assert is_good(check, made.secret)
    check._writer.submit(lambda: None).result(DEADLINE_S)
    assert is_good(check, made.secret)
    assert listed(engine).last_used_at is None
    assert check._to_write == set()


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("SELECT", {}, TimeoutError("timed out")),
        DeadlineExceededError("the database did not answer before the deadline"),
    ],
)
def test_while_the_database_does_not_answer_one_try_a_second_waits_for_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A database that hangs would take the threads from readers who need none of it."""
    monkeypatch.setattr(checking, "HANGS_S", 0.0)
    made = make_key(engine)
    check = KeyCheck(engine)
    assert is_good(check, made.secret)
    tries: list[str] = []

    def hang(prefix: str) -> Any:
        tries.append(prefix)
        raise failure

    read = check._read
    monkeypatch.setattr(check, "_read", hang)
    check._remembered[made.secret[:15]].read_s -= REMEMBERED_S

    begun_s = time.monotonic()
    told = []
    for number in range(50):
        for secret in (made.secret, f"tk_{number:012x}_{'A' * 43}", made.secret[:16] + "A" * 43):
            with pytest.raises(KeyUntoldError) as caught:
                check.find(secret)
            told.append(caught.value.was_good)
    took_s = time.monotonic() - begun_s

    assert 1 <= len(tries) <= 1 + took_s / REST_S
    assert told == [True, False, False] * 50
    monkeypatch.setattr(check, "_read", read)
    wait_until(lambda: is_told(check, made.secret), DEADLINE_S, "the next try")


def test_a_database_that_hangs_is_waited_for_once_and_to_the_deadline(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "REST_S", 600.0)
    with start_mariadb() as server:
        settings = make_settings(database_url=server.new_database(), database_read_timeout_s=600)
        engine = make_engine(settings.database)
        migrate(engine)
        check = KeyCheck(engine)
        read = MagicMock(wraps=check._read)
        monkeypatch.setattr(check, "_read", read)
        assert not is_good(check, f"tk_{'0' * 12}_{'A' * 43}")
        with server.frozen():
            for number in range(1, 50):
                with deadline_scope(Deadline.after_ms(500)), pytest.raises(KeyUntoldError):
                    check.find(f"tk_{number:012x}_{'A' * 43}")
        engine.dispose()

    assert read.call_count == 2


def test_a_request_without_time_left_says_nothing_of_the_database(engine: Engine) -> None:
    made = make_key(engine)
    check = KeyCheck(engine)

    with deadline_scope(Deadline.after_ms(-1)), pytest.raises(DeadlineExceededError):
        check.find(made.secret)

    assert is_good(check, made.secret)


def test_a_process_that_is_ending_still_takes_keys(engine: Engine) -> None:
    """Its last requests come while its threads take no more work."""
    made = make_key(engine)
    check = KeyCheck(engine)
    check._writer.shutdown()

    assert is_good(check, made.secret)
    assert check._to_write == set()
