"""Calls that are added up and handed over late arrive in the metrics as if counted one by one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from tests.lab.servers import wait_until
from tidings.process.tally import Level, Seconds, Tally

BUCKETS = (0.001, 0.01, 0.1)


def _samples(registry: CollectorRegistry) -> dict[object, float]:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.floats(0, 1) | st.sampled_from(BUCKETS), max_size=300))
def test_many_observations_at_once_are_as_good_as_each(amounts: list[float]) -> None:
    """On the bounds of the buckets, too."""
    one, all_ = CollectorRegistry(), CollectorRegistry()
    each = Histogram("seconds", "x", registry=one, buckets=BUCKETS)
    for amount in sorted(amounts):
        each.observe(amount)
    Seconds("seconds", "x", registry=all_, buckets=BUCKETS).observe_all(amounts)

    expected, actual = _samples(one), _samples(all_)
    total = ("seconds_sum", ())
    assert actual.pop(total) == pytest.approx(expected.pop(total))
    assert actual == expected


def test_calls_of_many_threads_are_all_counted() -> None:
    """Nothing is lost while what is pending is taken."""
    registry = CollectorRegistry()
    counter = Counter("calls", "x", ["method", "outcome"], registry=registry)
    seconds = Seconds("seconds", "x", ["method"], registry=registry, buckets=BUCKETS)
    tally = Tally(counter, seconds)

    def count() -> None:
        for _ in range(5000):
            tally.add("ask", "ok", 0.0005)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tally.hand_over()
    tally.hand_over()

    assert registry.get_sample_value("calls_total", {"method": "ask", "outcome": "ok"}) == 20_000
    assert registry.get_sample_value("seconds_count", {"method": "ask"}) == 20_000


def test_whoever_asks_for_metrics_gets_what_is_pending() -> None:
    counter = Counter("tally_test_calls", "x", ["method", "outcome"])
    gauge = Gauge("tally_test_level", "x")
    tally, height = Tally(counter), [3]
    level = Level(gauge, lambda: height[0])
    tally.add("ask", "ok", 0.1)

    assert (
        REGISTRY.get_sample_value("tally_test_calls_total", {"method": "ask", "outcome": "ok"}) == 1
    )
    assert REGISTRY.get_sample_value("tally_test_level") == 3
    height[0] = 1
    assert REGISTRY.get_sample_value("tally_test_level") == 1
    del level
    REGISTRY.unregister(counter)
    REGISTRY.unregister(gauge)


def test_where_nobody_can_ask_it_is_handed_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics of several workers are read from files, by another process."""
    registry = CollectorRegistry()
    counter = Counter("calls", "x", ["method", "outcome"], registry=registry)
    tally = Tally(counter)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "anywhere")
    tally.add("ask", "ok", 0.1)
    labels = {"method": "ask", "outcome": "ok"}
    handed_over: Callable[[], bool] = lambda: registry.get_sample_value("calls_total", labels) == 1  # noqa: E731
    wait_until(handed_over, 10, "the count")


def test_hand_overs_by_others_leave_no_timers_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap: each list that was empty would start a timer, and there would be a thread for each
    call."""
    tally = Tally(Counter("calls", "x", ["method", "outcome"], registry=CollectorRegistry()))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "anywhere")
    before = threading.active_count()
    for _ in range(100):
        tally.add("ask", "ok", 0.1)
        tally.hand_over()
    assert threading.active_count() <= before + 1


def test_a_forked_process_does_not_count_its_parents_calls() -> None:
    """Trap: what is pending at the fork would be handed over by both."""
    registry = CollectorRegistry()
    counter = Counter("calls", "x", ["method", "outcome"], registry=registry)
    tally = Tally(counter)
    tally.add("ask", "ok", 0.1)
    child = os.fork()
    if child == 0:
        tally.hand_over()
        counted = registry.get_sample_value("calls_total", {"method": "ask", "outcome": "ok"})
        os._exit(0 if counted is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tally.hand_over()
    assert registry.get_sample_value("calls_total", {"method": "ask", "outcome": "ok"}) == 1
