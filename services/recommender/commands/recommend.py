"""`tidings recommend`: what a reader would be shown now, and why.

It asks the site's recommender, so that it tells of what readers get and not of what a command
thinks. Nothing is recorded. Exit code 0: told, 2: the recommender could not say.

    tidings recommend 4503599627370503 --channel 3 --num 20
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import click

from services.recommender.app import make_tls_options
from tidings.client import (
    DeadlineExceededError,
    Explained,
    Explanation,
    Policy,
    TidingsClient,
    TidingsError,
)
from tidings.commands.printing import ID, json_option, print_json, print_rows
from tidings.news.listing import Headline, read_headlines
from tidings.process.errors import CannotStartError
from tidings.process.settings import Settings, load_settings
from tidings.reading.pages import LONGEST_PAGE, PAGE_SIZE
from tidings.rpc.tls import make_client_tls
from tidings.store.opening import open_database

TIMEOUT_MS = 5000
SHOWN_DROPPED = 20
LEAST_FEATURE = 0.0005


@click.command("recommend")
@click.argument("user", type=click.IntRange(1, 2**63 - 1))
@click.option("--channel", type=ID, default=0, show_default=True, help="0 is every channel.")
@click.option(
    "--num",
    type=click.IntRange(1, LONGEST_PAGE),
    default=PAGE_SIZE,
    show_default=True,
    help="How many articles.",
)
@json_option
def recommend(user: int, channel: int, num: int, *, as_json: bool) -> None:
    """What USER, a reader's number, would be shown now, and why; nothing is recorded."""
    settings = load_settings()
    try:
        told = _explain(settings, user, channel, num)
    except TidingsError as ex:
        raise CannotStartError(_say(ex, settings)) from ex
    ids = {one.article_id for one in told.articles} | {one.article_id for one in told.dropped}
    ids |= {one.reason.article_id for one in told.articles if one.reason is not None}
    with open_database(settings).connect() as conn:
        headlines = read_headlines(conn, ids)
    if as_json:
        print_json(_lines(told, headlines))
    else:
        _print_for_people(told, headlines)


def _explain(settings: Settings, user: int, channel: int, num: int) -> Explanation:
    endpoints = settings.recommender.endpoints
    policy = Policy(
        timeout_ms=TIMEOUT_MS, tls=make_client_tls(make_tls_options(settings), endpoints)
    )
    # Whether plain text may leave this machine, the line before has asked of the settings.
    with TidingsClient(*endpoints, policy=policy, allow_plaintext=True, caller="cli") as client:
        return client.explain(user, channel, num)


def _say(ex: TidingsError, settings: Settings) -> str:
    where = ", ".join(settings.recommender.endpoints)
    if isinstance(ex, DeadlineExceededError):
        return f"the recommender at {where} did not answer within {TIMEOUT_MS / 1000:g} s ({ex})"
    if ex.code:
        return str(ex)
    return f"no recommender answers at {where} ({ex.message}); `tidings up` starts one"


def _lines(told: Explanation, headlines: Mapping[int, Headline]) -> Iterator[dict[str, Any]]:
    """One object an article, those that are shown first, and one of the feed itself."""
    for place, one in enumerate(told.articles):
        yield {
            "is": "shown",
            "place": place,
            "article_id": one.article_id,
            "title": _title(headlines, one.article_id),
            "source": one.source,
            "reason": one.reason,
            "score": one.score,
            "features": one.features,
            "strengths": one.strengths,
        }
    for left in told.dropped:
        yield {
            "is": "dropped",
            "article_id": left.article_id,
            "title": _title(headlines, left.article_id),
            "step": left.step,
            "why": left.why,
            "score": left.score,
        }
    yield {"is": "feed", "model": told.model, "variant": told.variant, "step_ms": told.step_ms}


def _print_for_people(told: Explanation, headlines: Mapping[int, Headline]) -> None:
    steps = ", ".join(f"{name} {took:.1f} ms" for name, took in told.step_ms.items())
    click.echo(f"ranked by {told.model}, variant {told.variant}; {steps}\n")
    print_rows(
        [
            {
                "place": place,
                "article": one.article_id,
                "source": one.source,
                "score": f"{one.score:.3f}",
                # All that is long, since a terminal wraps the last column only.
                "title (reason) features": _about(one, headlines),
            }
            for place, one in enumerate(told.articles, 1)
        ],
        as_json=False,
    )
    if not told.dropped:
        return
    counts = Counter((left.step, left.why) for left in told.dropped)
    said = ", ".join(f"{why} {number} ({step})" for (step, why), number in counts.items())
    click.echo(f"\nleft out: {said}\n")
    print_rows(
        [
            {
                "article": left.article_id,
                "step": left.step,
                "why": left.why,
                "score": "" if left.score is None else f"{left.score:.3f}",
                "title": _title(headlines, left.article_id),
            }
            for left in told.dropped[:SHOWN_DROPPED]
        ],
        as_json=False,
    )


def _about(one: Explained, headlines: Mapping[int, Headline]) -> str:
    features = " ".join(
        f"{name}={value:.3f}" for name, value in one.features.items() if abs(value) >= LEAST_FEATURE
    )
    reason = _reason(one.reason, headlines) or "no reason"
    return f"{_title(headlines, one.article_id)} ({reason}) {features}"


def _reason(reason: Any, headlines: Mapping[int, Headline]) -> str:
    if reason is None:
        return ""
    if not reason.article_id:
        return str(reason.kind)
    return f"{reason.kind}: {_title(headlines, reason.article_id) or reason.article_id}"


def _title(headlines: Mapping[int, Headline], article_id: int) -> str:
    found = headlines.get(article_id)
    return found.title if found else ""
