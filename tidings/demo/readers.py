"""Makes up readers with tastes, and what they did in the last days: so that a new site has
something to rank by.

Each reader loves a few channels (a gamma-distributed taste, normalised, as in a Dirichlet draw),
visits now and then, is shown ten articles that were out at that moment, and clicks by taste,
freshness and place on the page. All of it follows from the seed, the articles and the moment.

    acts = simulate(items, readers=40, days=7, now_ms=now_ms(), seed=1)
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tidings.news.channels import FOR_YOU
from tidings.reading.acts import Action
from tidings.reading.events import Event, pack_ids
from tidings.reading.pages import PAGE_SIZE

HOUR_MS = 3600 * 1000
TASTE_SHAPE = 0.35
VISITS = (2, 9)
# Chance of a click on the first place for an article to one's taste; places further down are seen
# less.
CLICK_CHANCE = 0.5
PLACE_DECAY = 0.88
FRESH_HOURS = 30.0


@dataclass(frozen=True, slots=True)
class Item:
    """What a simulated reader knows of an article."""

    article_id: int
    channel_id: int
    published_ms: int


def simulate(
    items: Sequence[Item], *, readers: int, days: int, now_ms: int, seed: int
) -> Iterator[Event]:
    """What `readers` simulated readers did in the last `days`, reader by reader, each in order of
    time."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, repeatable by its seed
    channels = sorted({item.channel_id for item in items})
    for _ in range(readers):
        # Counted from bit 52 like every anonymous reader's id, so these never meet an account's.
        reader_id = rng.randrange(2**52, 2**53)
        weights = {channel_id: rng.gammavariate(TASTE_SHAPE, 1.0) for channel_id in channels}
        total = sum(weights.values())
        taste = {channel_id: weight / total for channel_id, weight in weights.items()}
        visits = sorted(
            now_ms - int(rng.random() * days * 24 * HOUR_MS) for _ in range(rng.randint(*VISITS))
        )
        unseen = list(items)
        for at_ms in visits:
            page = _draw_page(
                rng, [item for item in unseen if item.published_ms <= at_ms], taste, at_ms
            )
            drawn = {item.article_id for item in page}
            unseen = [item for item in unseen if item.article_id not in drawn]
            yield from _visit(rng, reader_id, page, taste, at_ms)


def _draw_page(
    rng: random.Random, items: Sequence[Item], taste: dict[int, float], at_ms: int
) -> list[Item]:
    def key(item: Item) -> float:
        age_hours = (at_ms - item.published_ms) / HOUR_MS
        weight = (0.1 + taste[item.channel_id]) * 0.5 ** (age_hours / FRESH_HOURS)
        # Efraimidis and Spirakis (2006): the largest u^(1/w) are a weighted sample without
        # replacement.
        return float(rng.random() ** (1 / max(weight, 1e-9)))

    return sorted(items, key=key, reverse=True)[:PAGE_SIZE]


def _visit(
    rng: random.Random, reader_id: int, page: Sequence[Item], taste: dict[int, float], at_ms: int
) -> Iterator[Event]:
    def event(action: Action, after_ms: int, **values: Any) -> Event:
        return Event(
            action=action,
            reader_id=reader_id,
            channel_id=FOR_YOU.channel_id,
            stamp_ms=at_ms,
            at_ms=at_ms + after_ms,
            **values,
        )

    ids = [item.article_id for item in page]
    if ids:
        packed = pack_ids(ids)
        yield event(Action.EXPOSURE, 0, article_id=0, position=0, packed_ids=packed)
    for position, item in enumerate(page):
        place = {"article_id": item.article_id, "position": position}
        if rng.random() >= CLICK_CHANCE * PLACE_DECAY**position * min(
            1.0, 3 * taste[item.channel_id]
        ):
            continue
        after_ms = rng.randint(1000, 60_000)
        read_ms = rng.randint(4000, 180_000)
        yield event(Action.CLICK, after_ms, **place)
        yield event(Action.READING, after_ms + read_ms, read_ms=read_ms, **place)
        if rng.random() < 0.15:
            yield event(Action.LIKING, after_ms + read_ms, **place)
        if rng.random() < 0.05:
            yield event(Action.COLLECT, after_ms + read_ms, **place)
