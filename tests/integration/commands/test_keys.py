"""`tidings keys`: a key is made, opens the door, is listed, and opens it no more."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine

from tests.conftest import NOWHERE
from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.readers.checking import KeyCheck, KeyRefusedError
from tidings.readers.keys import Role

Type = Callable[..., Result]


@pytest.fixture
def typed(database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database_url)
    monkeypatch.setenv(f"{PREFIX}REDIS_URL", f"redis://{NOWHERE}/0")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ("keys", *words))

    return run


def test_a_script_takes_the_key_from_stdout(typed: Type, engine: Engine) -> None:
    made = typed("add", "importer", "--role", "author", "--limit", "600")

    assert made.exit_code == 0, made.output
    assert "importer" in made.stderr
    (secret,) = made.stdout.splitlines()
    key = KeyCheck(engine).find(secret)
    assert (key.name, key.role, key.quota) == ("importer", Role.AUTHOR, 600)


def test_a_program_takes_it_as_json(typed: Type, engine: Engine) -> None:
    made = typed("add", "importer", "--role", "author", "--json")

    (line,) = made.output.splitlines()
    row = json.loads(line)
    key = KeyCheck(engine).find(row["secret"])
    assert row == {
        "key_id": key.key_id,
        "name": "importer",
        "role": "author",
        "reader_id": key.reader_id,
        "secret": row["secret"],
    }


def test_keys_are_listed_without_their_secrets_until_the_end(typed: Type) -> None:
    """A revoked key stays in the list: what it did stands under its name."""
    secret = typed("add", "importer", "--role", "author", "--expires", "2120-01-01").stdout.strip()
    typed("add", "desk", "--role", "operator")

    assert typed("revoke", "importer").output == "the key importer is revoked\n"
    assert typed("revoke", "importer").output == "the key importer was revoked before\n"

    shown = typed("list").output
    rows = [json.loads(line) for line in typed("list", "--json").stdout.splitlines()]
    assert [(row["name"], row["role"], row["state"]) for row in rows] == [
        ("importer", "author", "revoked"),
        ("desk", "operator", "good"),
    ]
    assert rows[0]["expires_at"] == "2120-01-01T00:00:00Z"
    assert secret[:15] in shown
    assert secret[16:] not in shown + json.dumps(rows)


def test_a_list_says_when_a_key_was_revoked_and_what_its_limit_counts(
    typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}GATEWAY_LIMIT_WINDOW_S", "10")
    typed("add", "importer", "--role", "author", "--limit", "600")
    typed("add", "desk", "--role", "operator")
    typed("revoke", "desk")

    heads, importer, desk = typed("list").output.splitlines()

    assert importer[heads.index("in 10 s") :].split()[0] == "600"
    (_, row) = [json.loads(line) for line in typed("list", "--json").stdout.splitlines()]
    assert row["revoked_at"][:10] in desk[heads.index("revoked") :]


def test_a_revoked_key_opens_no_door(typed: Type, engine: Engine) -> None:
    secret = typed("add", "importer", "--role", "author").stdout.strip()
    typed("revoke", "importer")

    with pytest.raises(KeyRefusedError):
        KeyCheck(engine).find(secret)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "importer"), "--role"),
        (("add", "importer", "--role", "king"), "king"),
        (("add", "Two Words", "--role", "reader"), "expected a name of 1 to 64"),
        (("add", "x", "--role", "reader", "--limit", "0"), "0 is not in the range"),
        (("add", "x", "--role", "reader", "--expires", "soon"), "is no moment"),
        (("add", "x", "--role", "reader", "--expires", "2020-01-01"), "a moment to come"),
        (("add", "taken", "--role", "reader"), "there is, or was, a key named taken"),
        (("revoke", "nobody-here"), "there is no key named nobody-here"),
    ],
)
def test_what_cannot_be_is_said_in_words_and_makes_no_key(
    typed: Type, words: tuple[str, ...], expected: str
) -> None:
    typed("add", "taken", "--role", "reader")

    done = typed(*words)

    assert done.exit_code == 2
    assert expected in done.stderr
    assert done.stdout == ""
    assert len(typed("list", "--json").stdout.splitlines()) == 1
