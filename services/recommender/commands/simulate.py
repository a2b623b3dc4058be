"""`tidings simulate`: how well the feed finds tastes that were planted in simulated readers.

A log of clicks cannot tell what its readers would have liked besides; here that is known. No site
is needed and nothing is stored. Exit code 0: done.

    tidings simulate --size 150 --seeds 3 --json
"""

from __future__ import annotations

import sys

import click

from services.recommender.evaluation.simulator.judging import judge
from services.recommender.evaluation.simulator.serving import ServingFeed
from services.recommender.evaluation.simulator.world import LARGE, SMALL
from tidings.commands.printing import json_option, print_rows

SHAPES = {str(shape.articles): shape for shape in (SMALL, LARGE)}


@click.command()
@click.option(
    "--size",
    "sizes",
    type=click.Choice(list(SHAPES)),
    multiple=True,
    help="Articles of the site; may be repeated. Default: both.",
)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Worlds of each size; the same number makes the same worlds.",
)
@json_option
def simulate(sizes: tuple[str, ...], seeds: int, *, as_json: bool) -> None:
    """Judge the recommender by 200 simulated readers whose tastes are known.

    taste_gain and utility_gain say how near a reader's page comes to the perfect one after five
    clicks: 0 is a page of what is popular, 1 one that knows the taste.
    """
    chosen = [SHAPES[size] for size in sizes or SHAPES]
    rows: list[dict[str, object]] = []
    with click.progressbar(
        [(shape, seed) for shape in chosen for seed in range(1, seeds + 1)], file=sys.stderr
    ) as worlds:
        for shape, seed in worlds:
            figures = judge(shape, seed, ServingFeed).figures
            rows += [
                {"articles": shape.articles, "seed": seed, "figure": name, "value": round(value, 3)}
                for name, value in figures.items()
            ]
    print_rows(rows, as_json=as_json)
