"""Does the feed find a reader's taste? 200 simulated readers on sites of 150 and 5,000 articles;
and how well texts alone find articles of one channel among 2,225 real ones.

    python -m bench.recommender taste
    python -m bench.recommender.taste docs/pictures/taste.svg    the curves as one picture
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.recommender.data import find
from services.recommender.evaluation.simulator.judging import Judged, judge
from services.recommender.evaluation.simulator.running import WANTED
from services.recommender.evaluation.simulator.serving import ServingFeed
from services.recommender.evaluation.simulator.world import LARGE, SMALL, Shape
from services.recommender.texts import make_texts

SEEDS = (1, 2, 3)
NEIGHBOURS = 10
# Of both sizes together: the worse one.
WORSE_OF_BOTH = "channels_in_ten"
OF_LARGE_ONLY = ("changed_taste_p50", "changed_taste_p90")
SVG = "http://www.w3.org/2000/svg"
WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 40, 16, 36, 40
FULL_HEIGHT = HEIGHT + 24
CAPTION = (
    f"On the small site the curve climbs again at batch {SMALL.articles // WANTED + 1}: all of "
    f"its {SMALL.articles} articles were shown, and the oldest come again."
)
CURVES = {
    "feed": ("first taste, the feed", "#1f6fb4"),
    "hot": ("first taste, hot only", "#999999"),
    "changed": ("second taste, the feed", "#c2561a"),
}


def measure() -> dict[str, float]:
    """Means over three seeds, `…_spread` their largest distance, and `text_same_channel`."""
    figures: dict[str, float] = {}
    judged = judge_all()
    for shape in (SMALL, LARGE):
        runs = [one.figures for one in judged[shape.articles]]
        for name in runs[0]:
            values = [run[name] for run in runs]
            whole = name if name in OF_LARGE_ONLY else f"{name}_{shape.articles}"
            figures[whole] = float(np.mean(values))
            figures[f"{whole}_spread"] = max(values) - min(values)
    figures[WORSE_OF_BOTH] = min(
        figures[f"{WORSE_OF_BOTH}_{shape.articles}"] for shape in (SMALL, LARGE)
    )
    return figures | same_channel()


def judge_all() -> dict[int, list[Judged]]:
    """Every world, on all cores; articles → what came of each seed."""
    jobs = [(shape, seed) for shape in (LARGE, SMALL) for seed in SEEDS]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        judged = list(pool.map(_judge, *zip(*jobs, strict=True)))
    return {
        shape.articles: [one for one, (of, _) in zip(judged, jobs, strict=True) if of is shape]
        for shape in (SMALL, LARGE)
    }


def _judge(shape: Shape, seed: int) -> Judged:
    return judge(shape, seed, ServingFeed)


def same_channel() -> dict[str, float]:
    """Of the ten nearest of each article by its words, the share in its own channel; and what
    chance would give."""
    with gzip.open(find("articles-usgov") / "articles.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    channels = np.unique([row["channel"] for row in rows], return_inverse=True)[1]
    texts = make_texts(
        {id_: f"{row['title']}\n{row['summary']}\n{row['body']}" for id_, row in enumerate(rows)}
    )
    shares = []
    for article_id in range(len(rows)):
        found, _ = texts.similar(article_id, NEIGHBOURS)
        if len(found):
            shares.append(float((channels[found] == channels[article_id]).mean()))
    chance = (np.bincount(channels) / len(channels)) ** 2
    return {
        "text_same_channel": float(np.mean(shares)),
        "text_same_channel_by_chance": float(chance.sum()),
    }


def draw(judged: Mapping[int, Sequence[Judged]]) -> str:
    """The curves as SVG: the share of the planted taste in each batch, means over the seeds."""
    parts = [
        f'<svg xmlns="{SVG}" viewBox="0 0 {WIDTH * 2} {FULL_HEIGHT}" font-family="sans-serif">',
        "<style>text {font-size: 12px}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for panel, (articles, runs) in enumerate(judged.items()):
        parts.append(f'<g transform="translate({panel * WIDTH} 0)">')
        parts += _frame(f"{articles:,} articles", batches=len(runs[0].curves["feed"]))
        for number, (name, (label, colour)) in enumerate(CURVES.items()):
            curve = np.mean([run.curves[name] for run in runs], axis=0)
            points = " ".join(
                f"{_x(at, len(runs[0].curves['feed'])):.1f},{_y(share):.1f}"
                for at, share in enumerate(curve)
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(f'<text x="{LEFT + 150}" y="{TOP + 14 + 16 * number}" fill="{colour}">')
            parts.append(f"{label}</text>")
        parts.append("</g>")
    parts.append(f'<text x="{LEFT}" y="{FULL_HEIGHT - 8}">{CAPTION}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _frame(title: str, batches: int) -> list[str]:
    lines = [f'<text x="{LEFT}" y="{TOP - 10}" font-weight="bold">{title}</text>']
    for tenths in range(0, 11, 2):
        y = _y(tenths / 10)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">.{tenths}</text>')
    for at in range(0, batches, 8):
        x = _x(at, batches)
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{at + 1}</text>')
    lines.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">batch</text>')
    return [line.replace(">.10<", ">1<").replace(">.0<", ">0<") for line in lines]


def _x(at: int, batches: int) -> float:
    return LEFT + at / max(batches - 1, 1) * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(judge_all()))
