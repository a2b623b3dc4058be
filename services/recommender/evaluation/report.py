"""What an evaluation found, as one object: for programs as it is, for people as tables.

A figure is a number with its interval and nothing besides, so that a program need not parse what
people read. Rejected: printing while judging, after which a second form knows less than the first.

    reports = report_next_click(judged, log.prefix[clicks], source_names={2: "hot"}, seed=1)
    reports[0]["before_mix"]["hit@10"]["value"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.measures import AT, Figure, margins, measure, resample, worth
from services.recommender.evaluation.next_click import PREFIXES, Judged, prefix_of

HIT, NDCG = f"hit@{AT}", f"ndcg@{AT}"
Report = dict[str, Any]


def report_next_click(
    judged: Sequence[Judged],
    clicks_before: NDArray[np.int32],
    *,
    source_names: Mapping[int, str],
    seed: int,
) -> list[Report]:
    """A report of each contender; of each one's margin over those that stand after it, too.

    Args:
        judged: the one that serves first, then what it is compared with.
        clicks_before: of each question's session.
        source_names: by number.
        seed: of the resamples.
    """
    weights = resample(len(clicks_before), seed)
    return [
        {
            "name": one.name,
            "before_mix": _plain(measure(one.ranks, weights)),
            "after_mix": _plain(measure(one.shown, weights)),
            "margins": {
                other.name: _plain(margins(one.ranks, other.ranks, weights))
                for other in judged[number + 1 :]
            },
            "by_prefix": list(_by_prefix(one, clicks_before)),
            "by_source": list(_by_source(one, source_names)),
        }
        for number, one in enumerate(judged)
    ]


def figure_rows(contenders: Sequence[Report]) -> list[dict[str, str]]:
    """The figures as the rows of a table."""
    rows = []
    for report in contenders:
        row = {"contender": report["name"]}
        row |= {name: _show(figure) for name, figure in report["before_mix"].items()}
        row |= {f"{name} after mix": _show(report["after_mix"][name]) for name in (HIT, NDCG)}
        rows.append(row)
    return rows


def plain_rows(contenders: Sequence[Report]) -> list[dict[str, str]]:
    """The figures of contenders that have nothing besides, as the rows of a table."""
    return [
        {"contender": one["name"]}
        | {name: _show(value) for name, value in one.items() if isinstance(value, dict)}
        for one in contenders
    ]


def margin_rows(contenders: Sequence[Report]) -> list[dict[str, str]]:
    """By how much the first one is better than each other, as the rows of a table."""
    first = contenders[0]
    return [
        {"margin over": name} | {measure: _show(figure) for measure, figure in figures.items()}
        for name, figures in first["margins"].items()
    ]


def prefix_rows(contenders: Sequence[Report]) -> list[dict[str, str]]:
    """Hits by how many clicks the session had, as the rows of a table."""
    return [
        {"clicks before": one["clicks"], "questions": str(one["questions"])}
        | {report["name"]: f"{report['by_prefix'][number][HIT]:.3f}" for report in contenders}
        for number, one in enumerate(contenders[0]["by_prefix"])
    ]


def source_rows(contenders: Sequence[Report]) -> list[dict[str, str]]:
    """Which sources brought the first one's right answers, as the rows of a table."""
    return [
        {"source": one["source"], "share of hits": f"{one['share']:.3f}"}
        for one in contenders[0]["by_source"]
    ]


def _plain(figures: Mapping[str, Figure]) -> Report:
    return {name: asdict(figure) for name, figure in figures.items()}


def _show(figure: Mapping[str, float]) -> str:
    return str(Figure(**figure))


def _by_prefix(judged: Judged, clicks_before: NDArray[np.int32]) -> Iterator[Report]:
    values, groups = worth(judged.ranks), prefix_of(clicks_before)
    for number, first in enumerate(PREFIXES):
        is_in = groups == number
        if is_in.any():
            last = PREFIXES[number + 1] - 1 if number + 1 < len(PREFIXES) else None
            named = f"{first}" if last == first else f"{first}-{last}" if last else f"{first}+"
            yield {
                "clicks": named,
                "questions": int(is_in.sum()),
                HIT: float(values[HIT][is_in].mean()),
                NDCG: float(values[NDCG][is_in].mean()),
            }


def _by_source(judged: Judged, source_names: Mapping[int, str]) -> Iterator[Report]:
    is_hit = worth(judged.shown)[HIT] > 0
    times = np.bincount(judged.sources[is_hit], minlength=1)
    for number in np.argsort(-times, kind="stable").tolist():
        if times[number] and number:
            yield {
                "source": source_names.get(number, str(number)),
                "share": float(times[number] / is_hit.sum()),
            }
