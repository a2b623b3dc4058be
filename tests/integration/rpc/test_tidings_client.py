"""`TidingsClient`: what a program in Python gets of the service, and how it is told that it does
not."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rpc.conftest import Serve
from tests.integration.rpc.peers import PATIENCE_S, Peer
from tests.lab.authority import Authority
from tidings import client as module
from tidings.client import (
    MOST_EVENTS,
    Article,
    CallerFaultError,
    DeadlineExceededError,
    Event,
    ExpectedError,
    Feed,
    MisconfiguredError,
    NotFoundError,
    Policy,
    ServerFaultError,
    TidingsClient,
    TidingsError,
    TransportFaultError,
    Verdict,
)
from tidings.process import deadline
from tidings.process.deadline import Deadline, deadline_scope
from tidings.reading.behaviour import REPORT_LIMIT
from tidings.rpc.errors import error, invalid, not_found, unavailable
from tidings.rpc.tls import TlsFiles, client_tls, server_context
from tidings_idl.recommend import ttypes

NOWHERE = "127.0.0.1:1"
STANDARD = sys.stdlib_module_names
PATIENT = Policy(timeout_ms=PATIENCE_S * 1000, connect_timeout_ms=PATIENCE_S * 1000)


def asking(*endpoints: str, policy: Policy = PATIENT, tls: TlsFiles | None = None) -> TidingsClient:
    """A client that a busy machine does not make fail: a second is not much there."""
    return TidingsClient(*endpoints, policy=policy, tls=tls)


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
    with asking(serve(page).endpoint) as tidings:
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
    with asking(serve(page).endpoint) as tidings:
        feed = tidings.feed(7)

    assert (len(feed.articles), feed.exposure, feed.before_ms) == (10, "exposure 0", 1)


def test_an_empty_page_is_a_page(serve: Serve) -> None:
    """Trap: Thrift enforces no field, so any of an answer's may be missing."""
    with asking(serve(lambda _: ttypes.ArticleResponse()).endpoint) as tidings:
        assert tidings.feed(7) == Feed((), "", 0)


def test_a_report_has_a_verdict_for_each_event(serve: Serve) -> None:
    with asking(serve(page).endpoint) as tidings:
        verdicts = tidings.report(Event(token, at_ms=5) for token in ("one", "two"))

    assert verdicts == (Verdict.ACCEPTED, Verdict.ACCEPTED)


def test_the_verdicts_are_those_of_the_idl() -> None:
    assert {verdict.name: verdict.value for verdict in Verdict} == {
        verdict.name: verdict.value for verdict in ttypes.Verdict
    }


def test_readiness_is_a_question(serve: Serve) -> None:
    running = serve(page, drain_window_s=3600)
    with asking(running.endpoint) as tidings:
        assert tidings.is_ready()
        running.server.drain()
        assert not tidings.is_ready()


@pytest.mark.parametrize(
    ("raised", "tier"),
    [
        (invalid({"user_id": "expected a number above 0"}), CallerFaultError),
        (not_found("there is no such channel"), NotFoundError),
        (error(409, "it is there already"), ExpectedError),
        (unavailable("too busy"), ServerFaultError),
        (ValueError("a bug"), ServerFaultError),
    ],
)
def test_a_failure_says_whose_it_is(serve: Serve, raised: Exception, tier: type[Exception]) -> None:
    """Four tiers, and nothing internal in any of them."""

    def fail(_: Any) -> Any:
        raise raised

    with asking(serve(fail).endpoint) as tidings, pytest.raises(tier) as ex:
        tidings.feed(7)
    assert type(ex.value) is tier
    assert "bug" not in str(ex.value)


def test_a_field_that_was_refused_is_named(serve: Serve) -> None:
    def fail(_: Any) -> Any:
        raise invalid({"article_num": "expected 1 to 100, got 0"})

    with asking(serve(fail).endpoint) as tidings, pytest.raises(CallerFaultError) as ex:
        tidings.feed(7, article_num=0)
    assert (ex.value.code, ex.value.details) == (422, {"article_num": "expected 1 to 100, got 0"})
    assert str(ex.value) == "the request is not valid: article_num: expected 1 to 100, got 0"


def test_who_cannot_be_reached_got_nothing(serve: Serve) -> None:
    """`sent` is False: the call may be made again wherever and whenever the caller likes."""
    with asking(NOWHERE) as tidings, pytest.raises(TransportFaultError) as ex:
        tidings.feed(7)
    assert not ex.value.sent


def test_a_dead_endpoint_costs_nothing_when_there_is_another(serve: Serve) -> None:
    with asking(NOWHERE, serve(page).endpoint) as tidings:
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
        MisconfiguredError, match=r"^recommender\.internal:9090 would be spoken to in plain text"
    ):
        TidingsClient("recommender.internal:9090")
    TidingsClient("recommender.internal:9090", allow_plaintext=True).close()


def test_with_certificates_it_speaks_tls(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    running = serve(page, tls=server_context(authority.sign("recommender.internal")))
    with asking(running.endpoint, tls=authority.sign("reports.internal")) as tidings:
        assert tidings.feed(7).articles


def test_everything_a_user_needs_is_in_one_module() -> None:
    for name in module.__all__:
        assert getattr(module, name).__doc__, name


def test_one_class_catches_every_failure(serve: Serve) -> None:
    """And what the first release called them still does."""
    old = {
        "RpcError": TidingsError,
        "CallerFault": CallerFaultError,
        "Expected": ExpectedError,
        "ServerFault": ServerFaultError,
        "TransportFault": TransportFaultError,
        "DeadlineExceeded": DeadlineExceededError,
    }
    assert {name: getattr(module, name) for name in old} == old
    assert all(issubclass(kind, TidingsError) for kind in old.values())
    assert issubclass(DeadlineExceededError, deadline.DeadlineExceededError)


def test_the_tree_of_errors_is_the_one_at_the_top() -> None:
    """What a reader of the module sees first is what is raised."""
    shown = {
        line.split("── ")[-1].split()[0]
        for line in (module.__doc__ or "").splitlines()
        if "Error" in line
    }
    assert shown == {name for name in module.__all__ if name.endswith("Error")}


@pytest.mark.parametrize("given", ["policy", "argument"])
def test_a_policy_with_tls_speaks_tls(serve: Serve, tmp_path: Path, given: str) -> None:
    """Trap: a policy's certificate was put aside, and the call made in plain text."""
    authority = Authority(tmp_path)
    running = serve(page, tls=server_context(authority.sign("recommender.internal")))
    files = authority.sign("reports.internal")
    with (
        asking(running.endpoint, policy=replace(PATIENT, tls=client_tls(files)))
        if given == "policy"
        else asking(running.endpoint, tls=files)
    ) as tidings:
        assert tidings.feed(7).articles


def test_a_policy_with_tls_may_leave_this_machine(tmp_path: Path) -> None:
    files = Authority(tmp_path).sign("reports.internal")

    TidingsClient("recommender.internal:9090", policy=Policy(tls=client_tls(files))).close()


def test_a_policy_says_how_long_a_call_may_take(serve: Serve) -> None:
    """Trap: the default of the argument was taken instead. The argument wins where it is given."""
    seen_ms: list[float] = []

    def recommend(request: Any) -> Any:
        given = deadline.current_deadline()
        assert given is not None
        seen_ms.append(given.remaining_ms())
        return page(request)

    endpoint = serve(recommend, max_budget_ms=1_000_000).endpoint
    for given in (
        {"policy": replace(PATIENT, timeout_ms=400_000)},
        {"policy": replace(PATIENT, timeout_ms=900_000), "timeout_ms": 400_000},
    ):
        with TidingsClient(endpoint, **given) as tidings:
            tidings.feed(7)

    assert len(seen_ms) == 2
    assert all(300_000 < left_ms <= 400_000 for left_ms in seen_ms)


def test_a_caller_waits_for_a_connection_as_long_as_it_has_time(serve: Serve) -> None:
    """Trap: 24 threads on one client failed 22 of 240 calls against an idle server, since each
    waited 50 ms for one of sixteen connections."""
    threads, released = 24, threading.Event()
    waiting = threading.Semaphore(0)

    def slow(request: Any) -> Any:
        waiting.release()
        released.wait(PATIENCE_S)
        return page(request)

    with (
        asking(serve(slow).endpoint, policy=replace(PATIENT, pool_size=2)) as tidings,
        ThreadPoolExecutor(threads) as pool,
    ):
        calls = [pool.submit(tidings.feed, user_id) for user_id in range(1, threads + 1)]
        for _ in range(2):
            assert waiting.acquire(timeout=PATIENCE_S)
        # Longer than the 50 ms that a caller waited once.
        assert not released.wait(0.2)
        released.set()
        found = [call.result().articles[0].article_id for call in calls]

    assert found == [user_id * 100 for user_id in range(1, threads + 1)]


def test_a_long_report_is_sent_in_parts(serve: Serve) -> None:
    """As many verdicts as events, in their order; nothing to report asks nothing."""
    with asking(serve(page).endpoint) as tidings:
        assert len(tidings.report(Event(str(n)) for n in range(2 * MOST_EVENTS + 1))) == 201
    with asking(NOWHERE) as tidings:
        assert tidings.report([]) == ()


def test_a_report_holds_as_much_as_the_service_takes() -> None:
    assert MOST_EVENTS == REPORT_LIMIT


def test_history_is_every_page_before(serve: Serve) -> None:
    """To the end, past a page whose articles have all gone; each page is asked for as it is
    needed."""
    asked: list[int] = []
    before = {0: 300, 300: 200, 200: 100, 100: 0}

    def paged(request: Any) -> Any:
        asked.append(request.time_stamp)
        gone = request.time_stamp == 200
        articles = [] if gone else [ttypes.Article(request.time_stamp, ttypes.Track("c"))]
        return ttypes.ArticleResponse("", before[request.time_stamp], articles)

    with asking(serve(paged).endpoint) as tidings:
        pages = tidings.history(7, channel_id=3)
        assert next(pages).articles == (Article(0, "c", "", "", ""),)
        assert asked == [0]
        assert [page.articles[0].article_id for page in pages] == [300, 100]
        assert [page.before_ms for page in tidings.history(7, before_ms=300)] == [200, 0]
        assert list(tidings.history(7, before_ms=0)) == []


def test_importing_the_client_loads_thrift_and_little_else() -> None:
    """A program with no settings of ours has no use for what reads, stores or counts them."""
    script = "import sys, tidings.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name for name in done.stdout.split() if name.split(".")[0] not in STANDARD}
    third_party = {name for name in loaded if not name.startswith(("tidings", "__"))}
    refused = ("pydantic", "sqlalchemy", "prometheus_client", "structlog", "redis", "msgspec")

    assert len(third_party) <= 60
    assert not {name.split(".")[0] for name in third_party} & set(refused)
    assert not {name for name in loaded if name.startswith("tidings.process.settings")}
