"""`make bench-recommender` as a person meets it: a part without its data is named and fails the
run, and a figure is held against its bar."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.recommender import __main__ as program
from bench.recommender.data import MissingDataError, find
from bench.recommender.figures import FIGURES


def test_a_missing_data_set_is_named_with_its_source_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are left out; nothing is guessed."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert program.main(["next_click"]) == 1
    shown = capsys.readouterr()
    assert "next_click: globo-news is not in BENCH_DATA. Its source: News Portal" in shown.err
    assert "next_click_hit10" not in shown.out


def test_a_data_set_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "globo-news").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert find("globo-news") == tmp_path / "globo-news"
    monkeypatch.delenv("BENCH_DATA")
    with pytest.raises(MissingDataError, match="Its source: News Portal"):
        find("globo-news")


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        ("next_click_hit10", 0.65, "aim"),
        ("next_click_hit10", 0.61, "bar"),
        ("next_click_hit10", 0.5, "MISSED"),
        ("handler_p50_ms", 1.2, "aim"),
        ("handler_p50_ms", 2.0, "bar"),
        ("handler_p50_ms", 4.0, "MISSED"),
        ("next_click_mrr10", 0.3, ""),
        ("mix_cost_hit10", 0.03, ""),
    ],
)
def test_a_figure_is_held_against_its_bar_and_its_aim(
    figure: str, value: float, verdict: str
) -> None:
    assert FIGURES[figure].judge(value) == verdict
