"""Settings: a bad one stops the process with the key's name, and secrets are never shown."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.conftest import MakeSettings
from tidings.process import site_folder
from tidings.process.errors import PREFIX, SettingsError
from tidings.process.listening import split_bind
from tidings.process.settings import (
    describe,
    load_settings,
    make_secret_keys,
    read_secret_keys,
)
from tidings.process.settings.loading import RETIRED


def test_without_any_setting_the_embedded_defaults_are_used() -> None:
    """`make run` needs no configuration at all."""
    settings = load_settings()

    assert settings.database.url == "sqlite:///var/tidings.db"
    assert settings.redis_is_embedded
    assert settings.site.secret_keys == ()


def test_a_redis_that_somebody_named_is_not_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming the very default still means: this one is there already, start none."""
    monkeypatch.setenv("TIDINGS_REDIS_URL", "redis://127.0.0.1:6390/0")

    assert not load_settings().redis_is_embedded


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("GATEWAY_BIND", "8000", "HOST:PORT"),
        ("GATEWAY_BIND", "127.0.0.1:80000", "HOST:PORT"),
        ("GATEWAY_BIND", ":8000", "HOST:PORT"),
        ("RECOMMENDER_BIND", "unix:relative/path", "unix:/absolute/path"),
        ("DATABASE_URL", "postgresql://host/tidings", "mysql+pymysql"),
        ("DATABASE_URL", "mysql+pymysql://user:password@host", "names no database"),
        ("DATABASE_URL", "tidings.db", "sqlite:///var/tidings.db"),
        ("REDIS_URL", "127.0.0.1:6379", "redis://host:port/0"),
        ("SECRET_KEYS", "short", "32 characters"),
        ("LOG_LEVEL", "loud", "'info'"),
        ("GATEWAY_THREADS", "many", "integer"),
        ("GATEWAY_THREADS", "0", "greater than or equal to 1"),
        ("GATEWAY_DEADLINE_MS", "99999999999", "less than or equal to 600000"),
        ("GATEWAY_MAX_BODY_BYTES", "99999999999999", "less than or equal to 67108864"),
        ("GATEWAY_CONNECTIONS_PER_ADDRESS", "1000001", "less than or equal to 1000000"),
        ("GATEWAY_LIMIT_FEED", "99999999999999999999", "less than or equal to 1000000"),
        ("GATEWAY_LIMIT_ADDRESS_TIMES", "1000001", "less than or equal to 1000000"),
        ("GATEWAY_LIMIT_NEW_READERS", "-1", "greater than or equal to 0"),
        ("CARD_TTL_S", "1e300", "integer"),
        ("SITE_NAME", "", "at least 1 character"),
        ("SITE_TAGLINE", "two\nlines", "one line of text"),
        ("SITE_LANGUAGE", "in English", "en, de or zh-CN"),
        ("SITE_TIME_ZONE", "../../etc/passwd", "Europe/Vienna"),
        ("SITE_LOGO", "logo.svg", ".png, .jpg, .jpeg, .webp"),
        ("CARD_TTL_S", "2592001", "less than or equal to 2592000"),
        ("DATABASE_POOL_TIMEOUT_S", "-1", "greater than 0"),
        ("ORDER_TIMEOUT_S", "inf", "less than or equal to 31622400"),
        ("ORDER_TIMEOUT_S", "1e300", "less than or equal to 31622400"),
        ("ORDER_FIRST_VISIT_TIMEOUT_S", "1e12", "less than or equal to 31622400"),
        ("ORDER_MOST_UNPAID", "2147483648", "less than or equal to 2147483647"),
        ("ORDER_MOST_UNPAID_PER_ADDRESS", "2147483648", "less than or equal to 2147483647"),
        ("ORDER_MOST_PIECES", "99999999999999999999", "less than or equal to 2147483647"),
        ("ORDER_MOST_CENTS", "2147483648", "less than or equal to 2147483647"),
    ],
)
def test_a_bad_value_names_its_key_and_says_what_would_do(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, hint: str
) -> None:
    """An operator reads one line and knows which variable to correct, and how."""
    monkeypatch.setenv(PREFIX + key, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert message.startswith(f"{PREFIX}{key}: ")
    assert hint in message
    assert "\n" not in message


def test_every_bad_value_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator should not correct one key, start again, and meet the next."""
    monkeypatch.setenv("TIDINGS_LOG_LEVEL", "loud")
    monkeypatch.setenv("TIDINGS_GATEWAY_THREADS", "many")

    with pytest.raises(SettingsError, match=r"TIDINGS_LOG_LEVEL: .*; TIDINGS_GATEWAY_THREADS: "):
        load_settings()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("TIDINGS_GATEWAY_BINDD", "did you mean TIDINGS_GATEWAY_BIND?"),
        ("TIDINGS_XYZZY", "`tidings settings`"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, key: str, hint: str
) -> None:
    """A misspelt setting that is silently ignored is found only on the day it was needed."""
    monkeypatch.setenv(key, "1")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value).startswith(f"{key}: ")
    assert hint in str(caught.value)


def test_a_retired_setting_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade that stops at a variable of yesterday's release would be an outage."""
    for key in RETIRED:
        monkeypatch.setenv(key, "true")

    load_settings()


def test_shares_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recommender's share of a request's budget must leave something for the rest."""
    monkeypatch.setenv("TIDINGS_GATEWAY_DEADLINE_MS", "300")
    monkeypatch.setenv("TIDINGS_GATEWAY_RECOMMEND_MS", "300")

    with pytest.raises(
        SettingsError, match="gateway_recommend_ms: must be below gateway_deadline_ms"
    ):
        load_settings()


def test_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `.env` file is for one's own machine; a variable is set for this one start."""
    monkeypatch.setattr(site_folder, "ENV_FILE", ".env")
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("TIDINGS_GATEWAY_THREADS=3\nTIDINGS_GATEWAY_WORKERS=4\n")
    monkeypatch.setenv("TIDINGS_GATEWAY_THREADS", "5")

    settings = load_settings()

    assert (settings.gateway.threads, settings.gateway.workers) == (5, 4)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and a trailing comma are people's way of writing lists."""
    monkeypatch.setenv("TIDINGS_RECOMMENDER_ENDPOINTS", "10.0.0.1:9090, 10.0.0.2:9090,")

    assert load_settings().recommender.endpoints == ("10.0.0.1:9090", "10.0.0.2:9090")


def test_settings_cannot_be_changed_after_the_start(make_settings: MakeSettings) -> None:
    """What a process was told at boot is what it runs with."""
    with pytest.raises(ValidationError, match="frozen"):
        make_settings().gateway.threads = 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TIDINGS_SECRET_KEYS", "open-sesame"),
        ("TIDINGS_DATABASE_URL", "mysql://tidings:open-sesame@host/tidings"),
        ("TIDINGS_DATABASE_URL", "mysql+pymysql://tidings:open-sesame@host"),
        ("TIDINGS_REDIS_URL", "http://:open-sesame@host/0"),
    ],
)
def test_a_refused_value_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    """The message ends up in logs and terminals; a key one character too short is still almost a
    key."""
    monkeypatch.setenv(key, value)

    with pytest.raises(SettingsError, match=key) as caught:
        load_settings()

    assert "open-sesame" not in str(caught.value)


def test_made_keys_are_read_back_and_only_the_owner_may_read_them(
    make_settings: MakeSettings,
) -> None:
    """`tidings up` makes a key once; later starts and other processes find the same one."""
    settings = make_settings(secret_keys=())
    settings.site.var_dir.mkdir()

    make_secret_keys(settings.site)
    keys = read_secret_keys(settings.site)
    make_secret_keys(settings.site)

    assert keys == read_secret_keys(settings.site)
    assert len(keys) == 1
    assert len(keys[0]) >= 32
    assert stat.S_IMODE(os.stat(settings.site.var_dir / "secret_keys").st_mode) == 0o600


def test_a_key_that_is_put_in_front_signs_and_the_one_behind_it_is_still_read(
    make_settings: MakeSettings,
) -> None:
    """One a line, as an operator replaces them."""
    site = make_settings(secret_keys=()).site
    site.var_dir.mkdir()
    (site.var_dir / "secret_keys").write_text(f"{'n' * 64}\n{'o' * 64}\n")

    assert read_secret_keys(site) == (b"n" * 64, b"o" * 64)


def test_without_keys_the_message_says_how_to_make_one(make_settings: MakeSettings) -> None:
    """A process started alone, without `tidings up`, has nothing to sign with."""
    with pytest.raises(
        SettingsError, match=r"TIDINGS_SECRET_KEYS: not set, .*openssl rand -hex 32"
    ):
        read_secret_keys(make_settings(secret_keys=()).site)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8000", ("::1", 8000)),
        ("news.example:65535", ("news.example", 65535)),
    ],
)
def test_a_bind_is_a_host_and_a_port(bind: str, expected: tuple[str, int]) -> None:
    """IPv6 addresses stand in brackets, as in a URL."""
    assert split_bind(bind) == expected


def test_the_operators_page_lists_every_setting_and_its_meaning() -> None:
    """A setting that is added and not listed, or that is gone and still listed, is found here."""
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    listed = re.findall(r"^\| `(TIDINGS_[A-Z_]+)` \| .*? \| (.*) \|$", page, re.MULTILINE)

    assert dict(listed) == {
        setting.variable: setting.meaning for setting in describe(load_settings())
    }


@pytest.mark.parametrize(
    ("bind", "endpoint"),
    [
        ("127.0.0.1:9555", "127.0.0.1:9555"),
        ("0.0.0.0:9555", "127.0.0.1:9555"),
        ("[::]:9555", "[::1]:9555"),
        ("unix:/run/recommender", "unix:/run/recommender"),
    ],
)
def test_a_recommender_that_was_moved_is_the_one_that_the_gateway_asks(
    monkeypatch: pytest.MonkeyPatch, bind: str, endpoint: str
) -> None:
    """Trap: the second site on a machine asking the recommender of the first, whose tokens its own
    gateway refuses; unless endpoints are named."""
    monkeypatch.setenv("TIDINGS_RECOMMENDER_BIND", bind)
    assert load_settings().recommender.endpoints == (endpoint,)

    monkeypatch.setenv("TIDINGS_RECOMMENDER_ENDPOINTS", "10.0.0.7:9090")
    assert load_settings().recommender.endpoints == ("10.0.0.7:9090",)
