"""Contenders beside each other as a picture: hits by how many clicks the session had.

A few lines of SVG, which every browser and GitHub show. Rejected: a plotting library, fifty
megabytes for lines in one frame.

    Path("figures.svg").write_text(draw(report["contenders"]))
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from services.recommender.evaluation.report import HIT, Report

WIDTH, HEIGHT = 640, 360
LEFT, TOP, RIGHT, BOTTOM = 50, 20, 20, 130
COLOURS = ("#0b6e4f", "#c8553d", "#588b8b", "#8d6a9f", "#a28f3d")


def draw(contenders: Sequence[Report]) -> str:
    """The picture, as the text of an SVG file."""
    labels = [part["clicks"] for part in contenders[0]["by_prefix"]]
    step = (WIDTH - LEFT - RIGHT) / max(len(labels) - 1, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for tenth in range(0, 11, 2):
        y, share = _y(tenth / 10), f"{tenth / 10:.1f}"
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share}</text>')
    for place, label in enumerate(labels):
        x, y = LEFT + place * step, HEIGHT - BOTTOM + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{escape(label)}</text>')
    parts.append(
        f'<text x="{LEFT}" y="{HEIGHT - BOTTOM + 38}">{HIT} by clicks of the session before</text>'
    )
    for number, one in enumerate(contenders):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{LEFT + place * step:.1f},{_y(part[HIT]):.1f}"
            for place, part in enumerate(one["by_prefix"])
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        )
        y = HEIGHT - BOTTOM + 60 + 18 * number
        value = one["before_mix"][HIT]["value"]
        parts.append(f'<path d="M{LEFT} {y - 4}h24" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{LEFT + 32}" y="{y}">{escape(one["name"])}: {value:.3f}</text>')
    return "\n".join([*parts, "</g></svg>", ""])


def _y(share: float) -> float:
    return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)
