"""`tidings recommend`: a feed with its reasons, in the terminal."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from services.recommender.commands import recommend as command
from tests.conftest import MakeSettings
from tests.integration.recommender.serving import PATIENCE_S, READER, Recommender, ids_of
from tests.lab.servers import free_port
from tidings.news.tables import article
from tidings.process.errors import CannotStartError
from tidings.store.engine import transaction

Run = Callable[..., Result]


@pytest.fixture
def run(
    recommender: Recommender,
    make_settings: MakeSettings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """The command, at a recommender with twelve articles, of which others read 1 and then 2."""
    recommender.newsroom.articles(12, channel_id=1)
    recommender.catalogue.refresh()
    for reader_id in range(100, 120):
        recommender.click(reader_id, 1, 2)
    settings = make_settings(
        database_url=database_url,
        recommender_endpoints=f"127.0.0.1:{recommender.server.port}",
    )
    monkeypatch.setattr(command, "load_settings", lambda: settings)
    monkeypatch.setattr(command, "TIMEOUT_MS", PATIENCE_S * 1000)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(command.recommend, [str(READER), *arguments])

    return call


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    # The server's log lines stand there as well, since it is in this process.
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def test_each_article_has_its_title_source_features_score_and_reason(
    run: Run, recommender: Recommender
) -> None:
    """And they are those that the next feed has, since asking records nothing."""
    told = lines(run("--num", "4", "--json"))
    shown = [line for line in told if line["is"] == "shown"]

    assert [line["article_id"] for line in shown] == ids_of(recommender.ask(article_num=4))
    first = shown[0]
    assert first["title"]
    assert first["reason"]["kind"] == "popular"
    assert first["source"] in first["strengths"]
    assert first["features"]
    assert first["score"] > 0
    assert told[-1]["model"] == "blend"


def test_the_others_are_told_with_the_step_at_which_they_fell_out(
    run: Run, recommender: Recommender
) -> None:
    seen = ids_of(recommender.ask(article_num=2))
    dropped = {
        line["article_id"]: (line["step"], line["why"])
        for line in lines(run("--num", "3", "--json"))
        if line["is"] == "dropped"
    }

    assert {dropped[id_] for id_ in seen if id_ in dropped} == {("filter", "seen")}
    assert ("mix", "weaker") in dropped.values()


def test_people_get_a_table(run: Run) -> None:
    result = run("--num", "3")

    assert result.exit_code == 0
    assert "ranked by blend, variant 0" in result.output
    assert "popular" in result.output
    assert "left out: " in result.output
    assert "(mix)" in result.output


@pytest.mark.parametrize("arguments", [["--num", "101"], ["--num", "0"], ["--channel", "x"]])
def test_what_is_out_of_range_is_said_before_anything_is_asked(
    run: Run, arguments: list[str]
) -> None:
    assert run(*arguments).exit_code == 2


def test_a_channel_that_is_not_there_is_said(run: Run) -> None:
    result = run("--channel", "99")

    assert isinstance(result.exception, CannotStartError)
    assert "99" in str(result.exception)


def test_a_channel_below_zero_is_said_with_what_would_be_right(run: Run) -> None:
    result = run("--channel", "-1")

    assert isinstance(result.exception, CannotStartError)
    assert "channel_id: expected 0 for every channel" in str(result.exception)


def test_a_recommender_that_does_not_run_is_said_in_one_line(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    settings = make_settings(recommender_endpoints=endpoint)
    monkeypatch.setattr(command, "load_settings", lambda: settings)

    result = CliRunner().invoke(command.recommend, ["7"])

    assert isinstance(result.exception, CannotStartError)
    assert f"no recommender answers at {endpoint}" in str(result.exception)


def test_a_recommender_that_hangs_is_said_with_its_endpoint(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and never answers."""
    monkeypatch.setattr(command, "TIMEOUT_MS", 300)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = make_settings(recommender_endpoints=endpoint)
        monkeypatch.setattr(command, "load_settings", lambda: settings)

        result = CliRunner().invoke(command.recommend, ["7"])

    assert isinstance(result.exception, CannotStartError)
    assert f"the recommender at {endpoint} did not answer within 0.3 s" in str(result.exception)


def test_on_a_narrow_terminal_no_line_of_the_table_is_wider(
    run: Run, recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long titles and features are wrapped."""
    with transaction(recommender.newsroom.engine) as conn:
        conn.execute(update(article).values(title="A title of many words that goes on and on"))
    monkeypatch.setenv("COLUMNS", "48")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)

    rows = [
        line for line in run("--num", "3").output.split("left out: ")[0].splitlines()[2:] if line
    ]

    assert len(rows) > 6
    assert max(map(len, rows)) <= 48
