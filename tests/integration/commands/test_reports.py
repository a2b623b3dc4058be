"""`tidings reports`: what was reported is seen, and dealt with."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from tests.conftest import NOWHERE, MakeSettings
from tests.lab.talk import Talk
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.store.engine import make_engine
from tidings.talk.history import find_messages
from tidings.talk.reports import report

Type = Callable[..., Result]


@pytest.fixture
def typed(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", sqlite_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", f"redis://{NOWHERE}/0")
    monkeypatch.setenv(f"{PREFIX}SECRET_KEYS", "k" * 32)

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ("reports", *words))

    return run


@pytest.fixture
def talk(sqlite_url: str, make_settings: MakeSettings) -> Talk:
    return Talk(make_engine(make_settings(database_url=sqlite_url).database))


def test_a_report_is_listed_until_it_is_closed(talk: Talk, typed: Type) -> None:
    assert typed("list").output == "nothing is reported\n"
    conversation_id = talk.direct(7, 9)
    talk.say(7, conversation_id, "insult")
    talk.do(report, 9, conversation_id, seq=1, reason="rude")

    (listed,) = [json.loads(line) for line in typed("list", "--json").output.splitlines()]
    assert (listed["report"], listed["text"], listed["sender"], listed["by"]) == (1, "insult", 7, 9)
    assert "insult" in typed("list").output

    assert typed("close", "1").output == "1 closed\n"
    assert typed("list").output == "nothing is reported\n"
    assert talk.ask(find_messages, 9, conversation_id, limit=1)[0].body == "insult"


def test_a_message_goes_with_its_report_where_that_is_asked(talk: Talk, typed: Type) -> None:
    conversation_id = talk.direct(7, 9)
    talk.say(7, conversation_id, "insult")
    talk.do(report, 9, conversation_id, seq=1, reason="rude")

    assert typed("close", "1", "--delete-message").exit_code == 0

    assert talk.ask(find_messages, 9, conversation_id, limit=1)[0].body is None


def test_a_report_that_was_never_made_is_refused_in_words(typed: Type) -> None:
    refused = typed("close", "12")

    assert refused.exit_code != 0
    assert "there is no report 12" in refused.output
