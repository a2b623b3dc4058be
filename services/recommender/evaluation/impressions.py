"""The protocol `impressions`: of what stood together on one page, was the clicked one ranked first?

A page is the exposures of one `session_id`, and its clicks are right. Each page is judged by what
the pages before it taught, in the order of the file. It judges click rates and their smoothing
only: what else was known when a page was made, a log of impressions does not say. Rejected: rates
of the whole file, which know the page that they are asked about.

    judge_impressions(make_pages(blocks), seed=1)[0]["auc"]["value"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommender.evaluation.measures import figure, resample
from tidings.importing.event_rows import NO_SESSION, EventBlock
from tidings.reading.acts import Action

# How many showings a rate's prior is worth: none, and as many as the taste's own click rates.
STRENGTHS = (0, 50)


class NoPagesError(ValueError):
    """The file holds no page with a click and something that was not clicked."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was shown together: article ids, and whether each was clicked."""

    articles: Sequence[int]
    is_clicked: NDArray[np.bool_]


def make_pages(blocks: Iterable[EventBlock]) -> list[Page]:
    """The pages of a file, in the order of their first exposures."""
    shown: dict[int, list[int]] = {}
    clicked: dict[int, set[int]] = {}
    for block in blocks:
        columns = (block.sessions, block.articles, block.actions)
        for session, article, action in zip(*(c.tolist() for c in columns), strict=True):
            if session == NO_SESSION:
                continue
            if action == Action.EXPOSURE:
                shown.setdefault(session, []).append(article)
            elif action == Action.CLICK:
                clicked.setdefault(session, set()).add(article)
    return [
        Page(articles, np.array([id_ in clicked.get(session, ()) for id_ in articles]))
        for session, articles in shown.items()
    ]


def judge_impressions(pages: Sequence[Page], *, seed: int) -> list[dict[str, Any]]:
    """AUC and ndcg by strength of smoothing.

    Raises:
        NoPagesError: there is nothing to judge.
    """
    found = [_judge(pages, strength) for strength in STRENGTHS]
    number = len(found[0]["auc"])
    if not number:
        raise NoPagesError("there is no page with a click and something that was not clicked")
    weights = resample(number, seed)
    return [
        {"name": f"click rate, {strength} showings of prior"}
        | {name: asdict(figure(values, weights)) for name, values in measured.items()}
        for strength, measured in zip(STRENGTHS, found, strict=True)
    ]


def _judge(pages: Sequence[Page], strength: int) -> Mapping[str, NDArray[np.float32]]:
    """What each page with a choice is worth, by the pages before it."""
    showings, clicks = Counter[int](), Counter[int]()
    shown, clicked = 1.0, 0.1
    auc, ndcg = [], []
    for page in pages:
        prior = clicked / shown
        rates = np.array(
            [
                (clicks[id_] + strength * prior) / (showings[id_] + strength)
                if showings[id_] + strength
                else prior
                for id_ in page.articles
            ]
        )
        if 0 < page.is_clicked.sum() < len(page.is_clicked):
            auc.append(_auc(rates, page.is_clicked))
            ndcg.append(_ndcg(rates, page.is_clicked))
        for id_, is_clicked in zip(page.articles, page.is_clicked.tolist(), strict=True):
            showings[id_] += 1
            clicks[id_] += is_clicked
        shown += len(page.articles)
        clicked += float(page.is_clicked.sum())
    return {"auc": np.array(auc, np.float32), "ndcg": np.array(ndcg, np.float32)}


def _auc(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """How often a right one stands above a wrong one; equal scores count half."""
    right, wrong = scores[is_right][:, None], scores[~is_right][None, :]
    return float(((right > wrong) + 0.5 * (right == wrong)).mean())


def _ndcg(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """nDCG of the whole page; among equal scores the right one comes last, so that no tie helps."""
    order = np.lexsort((is_right, -scores))
    discounts = 1 / np.log2(np.arange(len(scores)) + 2)
    return float(discounts[is_right[order]].sum() / discounts[: is_right.sum()].sum())
