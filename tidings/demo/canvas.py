"""A surface of 16 by 9 units to draw flat shapes on, and the colours of one picture.

Everything is drawn twice as large as it is kept and then scaled down, since Pillow does not smooth
edges by itself. Rejected: SVG, which pages that want a picture to share do not take, and which is
a program of its own in a reader's browser.

    canvas = Canvas(800, 450, rng, mix_colours(0.6, rng))
    canvas.circle(12, 2, 1, canvas.colours.light)
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

COLUMNS, ROWS = 16.0, 9.0
OVERSIZE = 2

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Colours(NamedTuple):
    """From what is farthest away to what is nearest, and two that stand out."""

    ground: Colour
    far: Colour
    middle: Colour
    near: Colour
    light: Colour
    accent: Colour


def mix_colours(hue: float, rng: random.Random) -> Colours:
    """Colours around a hue from 0 to 1, those of a day, of an evening or of a night."""
    hue += rng.uniform(-0.05, 0.05)
    other = hue + rng.choice((0.42, 0.5, 0.58))
    ground, far, middle, near = rng.choice(
        (
            ((0.88, 0.30), (0.76, 0.36), (0.58, 0.42), (0.34, 0.45)),
            ((0.72, 0.55), (0.58, 0.48), (0.42, 0.46), (0.24, 0.50)),
            ((0.16, 0.45), (0.26, 0.42), (0.40, 0.40), (0.56, 0.38)),
        )
    )
    return Colours(
        ground=_colour(hue, *ground),
        far=_colour(hue + 0.02, *far),
        middle=_colour(hue + 0.04, *middle),
        near=_colour(hue + 0.06, *near),
        light=_colour(hue + 0.08, 0.94, 0.55),
        accent=_colour(other, 0.58, 0.68),
    )


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


class Canvas:
    """What is being drawn; places and sizes are in units, from the upper left corner."""

    def __init__(self, width: int, height: int, rng: random.Random, colours: Colours) -> None:
        self.rng = rng
        self.colours = colours
        self._scale = width * OVERSIZE / COLUMNS
        self._image = Image.new("RGB", (width * OVERSIZE, height * OVERSIZE), colours.ground)
        self._draw = ImageDraw.Draw(self._image)

    def box(self, upper_left: Point, width: float, height: float, colour: Colour) -> None:
        x, y = upper_left
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        self.shape(corners, colour)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self._draw.ellipse(self._around(x, y, radius, radius), fill=colour)

    def ring(
        self, x: float, y: float, *, radii: tuple[float, float], width: float, colour: Colour
    ) -> None:
        """The outline of a circle or ellipse."""
        self._draw.ellipse(
            self._around(x, y, *radii), outline=colour, width=round(width * self._scale)
        )

    def shape(self, corners: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon([(x * self._scale, y * self._scale) for x, y in corners], fill=colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A line with round corners and ends."""
        self._draw.line(
            [(x * self._scale, y * self._scale) for x, y in points],
            fill=colour,
            width=round(width * self._scale),
            joint="curve",
        )
        for x, y in (points[0], points[-1]):
            self.circle(x, y, width / 2, colour)

    def finish(self) -> Image.Image:
        """The picture, at the size it was asked for."""
        return self._image.reduce(OVERSIZE)

    def _around(self, x: float, y: float, across: float, down: float) -> list[float]:
        return [
            (x - across) * self._scale,
            (y - down) * self._scale,
            (x + across) * self._scale,
            (y + down) * self._scale,
        ]
