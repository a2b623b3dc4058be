"""`TidingsClient`: what a program in Python gets of the service, and how it is told that it does
not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.rpc.conftest import Serve
from tests.integration.rpc.peers import Peer
from tests.lab.authority import Authority
from tidings import client as module
from tidings.client import Article, Event, Feed, TidingsClient, Verdict
from tidings.process.deadline import Deadline, DeadlineExceededError, deadline_scope
from tidings.process.errors import SettingsError
from tidings.rpc.errors import (
    CallerFaultError,
    ExpectedError,
    ServerFaultError,
    TransportFaultError,
    invalid,
    not_found,
    unavailable,
)
from tidings.rpc.tls import server_context
from tidings_idl.recommend import ttypes

NOWHERE = "127.0.0.1:1"


def page(request: Any) -> Any:
    """Everything that was asked, in the answer."""
    track = ttypes.Track("click", "collect", "reading", "liking")
    articles = [
        ttypes.Article(request.user_id * 100 + place, track) for place in range(request.article_num)
    ]
    return ttypes.ArticleResponse(
        f"exposure {request.channel_id}", request.time_stamp + 1, articles
    )


def test_a_feed_is_plain_data(serve: Serve) -> None:
    """Every field arrives, and what was asked for was asked for."""
    with TidingsClient(serve(page).endpoint) as tidings:
        feed = tidings.feed(7, channel_id=3, article_num=2, at_ms=1_000)

    assert feed == Feed(
        articles=(
            Article(700, "click", "collect", "reading", "liking"),
            Article(701, "click", "collect", "reading", "liking"),
        ),
        exposure="exposure 3",
        before_ms=1_001,
    )


def test_a_feed_has_the_defaults_of_the_contract(serve: Serve) -> None:
    """Every channel, ten articles, now."""
    with TidingsClient(serve(page).endpoint) as tidings:
        feed = tidings.feed(7)

    assert (len(feed.articles), feed.exposure, feed.before_ms) == (10, "exposure 0", 1)


def test_an_empty_page_is_a_page(serve: Serve) -> None:
    """Trap: Thrift enforces no field, so any of an answer's may be missing."""
    with TidingsClient(serve(lambda _: ttypes.ArticleResponse()).endpoint) as tidings:
        assert tidings.feed(7) == Feed((), "", 0)


def test_a_report_has_a_verdict_for_each_event(serve: Serve) -> None:
    with TidingsClient(serve(page).endpoint) as tidings:
        verdicts = tidings.report(Event(token, at_ms=5) for token in ("one", "two"))

    assert verdicts == (Verdict.ACCEPTED, Verdict.ACCEPTED)


def test_the_verdicts_are_those_of_the_idl() -> None:
    assert {verdict.name: verdict.value for verdict in Verdict} == {
        verdict.name: verdict.value for verdict in ttypes.Verdict
    }


def test_readiness_is_a_question(serve: Serve) -> None:
    running = serve(page, drain_window_s=1)
    with TidingsClient(running.endpoint) as tidings:
        assert tidings.is_ready()
        running.server.drain()
        assert not tidings.is_ready()


@pytest.mark.parametrize(
    ("raised", "tier"),
    [
        (invalid({"user_id": "expected a number above 0"}), CallerFaultError),
        (not_found("there is no such channel"), ExpectedError),
        (unavailable("too busy"), ServerFaultError),
        (ValueError("a bug"), ServerFaultError),
    ],
)
def test_a_failure_says_whose_it_is(serve: Serve, raised: Exception, tier: type[Exception]) -> None:
    """Four tiers, and nothing internal in any of them."""

    def fail(_: Any) -> Any:
        raise raised

    with TidingsClient(serve(fail).endpoint) as tidings, pytest.raises(tier) as ex:
        tidings.feed(7)
    assert "bug" not in str(ex.value)


def test_a_field_that_was_refused_is_named(serve: Serve) -> None:
    def fail(_: Any) -> Any:
        raise invalid({"article_num": "expected 1 to 100, got 0"})

    with TidingsClient(serve(fail).endpoint) as tidings, pytest.raises(CallerFaultError) as ex:
        tidings.feed(7, article_num=0)
    assert (ex.value.code, ex.value.details) == (422, {"article_num": "expected 1 to 100, got 0"})


def test_who_cannot_be_reached_got_nothing(serve: Serve) -> None:
    """`sent` is False: the call may be made again wherever and whenever the caller likes."""
    with TidingsClient(NOWHERE) as tidings, pytest.raises(TransportFaultError) as ex:
        tidings.feed(7)
    assert not ex.value.sent


def test_a_dead_endpoint_costs_nothing_when_there_is_another(serve: Serve) -> None:
    with TidingsClient(NOWHERE, serve(page).endpoint) as tidings:
        assert {tidings.feed(user_id).articles[0].article_id for user_id in (1, 2, 3)} == {
            100,
            200,
            300,
        }


def test_a_call_ends_in_time() -> None:
    """With its own limit, or with that of the work that it is part of if it comes first."""
    with Peer(lambda conversation: conversation.hold()) as peer:
        with (
            TidingsClient(peer.endpoint, timeout_ms=50) as tidings,
            pytest.raises(DeadlineExceededError),
        ):
            tidings.feed(7)
        with (
            TidingsClient(peer.endpoint, timeout_ms=60_000) as tidings,
            deadline_scope(Deadline.after_ms(50)),
            pytest.raises(DeadlineExceededError),
        ):
            tidings.feed(7)


def test_plain_text_stays_on_this_machine_unless_allowed() -> None:
    with pytest.raises(
        SettingsError, match=r"^recommender\.internal:9090 would be spoken to in plain text"
    ):
        TidingsClient("recommender.internal:9090")
    TidingsClient("recommender.internal:9090", allow_plaintext=True).close()


def test_with_certificates_it_speaks_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    running = serve(page, tls=server_context(authority.sign("recommender.internal")))
    with TidingsClient(running.endpoint, tls=authority.sign("reports.internal")) as tidings:
        assert tidings.feed(7).articles


def test_everything_a_user_needs_is_in_one_module() -> None:
    for name in module.__all__:
        assert getattr(module, name).__doc__, name
