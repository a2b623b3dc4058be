"""Draws the covers of the demo's articles, so that its front page looks like a newspaper's.

A picture follows from the channel, which chooses the motif, and from the article's id, which
chooses colours and places: the same article always has the same cover. Rejected: pictures of other
people, which need a licence and a download, and 150 files of them in the package.

    draw_cover("nature", "demo-nature-01")  # the bytes of a WebP, 800 by 450
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping

from tidings.demo import motifs
from tidings.demo.canvas import Canvas, mix_colours

# 16:9, the shape in which pages show a cover.
WIDTH, HEIGHT = 800, 450
# Flat colours: more would double the file without a difference to the eye.
QUALITY = 80
# Channel → its motif, and its hue on the wheel of colours from 0 to 1.
_DRAWN: Mapping[str, tuple[Callable[[Canvas], None], float]] = {
    "books": (motifs.draw_shelf, 0.03),
    "cities": (motifs.draw_skyline, 0.62),
    "craft": (motifs.draw_tiles, 0.08),
    "food": (motifs.draw_table, 0.12),
    "history": (motifs.draw_arches, 0.10),
    "nature": (motifs.draw_woods, 0.33),
    "science": (motifs.draw_orbits, 0.72),
    "sport": (motifs.draw_pitch, 0.40),
    "technology": (motifs.draw_circuit, 0.50),
    "travel": (motifs.draw_sea, 0.56),
}


def draw_cover(channel: str, article_key: str) -> bytes:
    """Draw an article's cover.

    Args:
        channel: one of the demo's.
        article_key: the article's id within the demo.

    Returns:
        A WebP, always the same one for the same article and version of Pillow.

    Raises:
        KeyError: there is no motif for this channel.
    """
    draw, hue = _DRAWN[channel]
    rng = random.Random(article_key)  # noqa: S311 - a picture, repeatable by its article
    canvas = Canvas(WIDTH, HEIGHT, rng, mix_colours(hue, rng))
    draw(canvas)
    drawn = io.BytesIO()
    # The quickest of the encoder's methods: 150 covers are drawn while a new site starts.
    canvas.finish().save(drawn, "WEBP", quality=QUALITY, method=1)
    return drawn.getvalue()
