"""What the demo's covers show: one motif for each of its channels, another picture each time.

Flat shapes in three layers from far to near, since those stay clear at the size of a card.
Rejected: one abstract pattern for all, by which a reader cannot tell the channels apart.

    draw_skyline(canvas)
"""

from __future__ import annotations

import math

from tidings.demo.canvas import COLUMNS, ROWS, Canvas, Colour, Point


def draw_shelf(canvas: Canvas) -> None:
    """Books: two shelves of spines, one book in ten leaning."""
    rng, tones = canvas.rng, canvas.colours
    spines = (tones.middle, tones.near, tones.light, tones.accent, tones.far)
    for floor in (4.3, 8.6):
        x = rng.uniform(-0.5, 0.2)
        while x < COLUMNS:
            width, height = rng.uniform(0.35, 0.95), rng.uniform(2.3, 3.6)
            colour = rng.choice(spines)
            lean = rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 0.7))
            top = floor - height
            canvas.shape(
                [(x, floor), (x + width, floor), (x + width + lean, top), (x + lean, top)], colour
            )
            if not lean and width > 0.5:
                band = tones.ground if colour != tones.ground else tones.light
                canvas.box((x, top + 0.4), width, 0.12, band)
                canvas.box((x, top + 0.65), width, 0.06, band)
            x += width + lean + rng.choice((0.03, 0.03, 0.03, 0.8))
        canvas.box((0, floor), COLUMNS, 0.25, tones.near)


def draw_skyline(canvas: Canvas) -> None:
    """Cities: three rows of houses, the nearest with lit windows."""
    rng, tones = canvas.rng, canvas.colours
    canvas.circle(rng.uniform(2, 14), rng.uniform(1.4, 3), rng.uniform(0.7, 1.3), tones.light)
    for colour, tallest in ((tones.far, 6.5), (tones.middle, 5.0), (tones.near, 3.4)):
        x = -rng.random()
        while x < COLUMNS:
            width, height = rng.uniform(0.9, 2.0), rng.uniform(tallest * 0.45, tallest)
            top = ROWS - height
            canvas.box((x, top), width, height, colour)
            if rng.random() < 0.3:
                canvas.shape([(x, top), (x + width, top), (x + width / 2, top - 0.7)], colour)
            if colour == tones.near:
                _light_windows(canvas, (x, top), width)
            x += width + rng.choice((0, 0, 0.25))


def _light_windows(canvas: Canvas, corner: Point, width: float) -> None:
    for row in range(int((ROWS - corner[1]) / 0.5)):
        for column in range(int((width - 0.2) / 0.4)):
            if canvas.rng.random() < 0.45:
                place = (corner[0] + 0.2 + column * 0.4, corner[1] + 0.3 + row * 0.5)
                canvas.box(place, 0.2, 0.25, canvas.colours.light)


def draw_tiles(canvas: Canvas) -> None:
    """Craft: a wall of tiles, each a part of a circle, turned at random (Truchet's tiling)."""
    rng, tones = canvas.rng, canvas.colours
    side = rng.choice((1.6, 2.0, 3.2))
    for row in range(math.ceil(ROWS / side)):
        for column in range(math.ceil(COLUMNS / side)):
            x, y = column * side, row * side
            canvas.box((x, y), side, side, rng.choice((tones.far, tones.ground, tones.middle)))
            _draw_quarter(canvas, (x, y), side, rng.choice((tones.near, tones.accent, tones.light)))


def _draw_quarter(canvas: Canvas, corner: Point, side: float, colour: Colour) -> None:
    right, down = canvas.rng.choice((0, 1)), canvas.rng.choice((0, 1))
    centre = (corner[0] + right * side, corner[1] + down * side)
    begin = {(0, 0): 0.0, (1, 0): 0.5, (1, 1): 1.0, (0, 1): 1.5}[right, down] * math.pi
    angles = [begin + step * math.pi / 48 for step in range(25)]
    arc = [(centre[0] + side * math.cos(a), centre[1] + side * math.sin(a)) for a in angles]
    canvas.shape([centre, *arc], colour)


def draw_table(canvas: Canvas) -> None:
    """Food: a plate from above, with what lies on it and beside it."""
    rng, tones = canvas.rng, canvas.colours
    for stripe in range(0, 16, 2):
        canvas.box((stripe, 0), 1, ROWS, tones.far)
    x, y = rng.uniform(5.5, 10.5), rng.uniform(4.0, 5.0)
    canvas.circle(x + 0.15, y + 0.2, 3.3, tones.middle)
    canvas.circle(x, y, 3.3, tones.light)
    canvas.ring(x, y, radii=(2.5, 2.5), width=0.08, colour=tones.far)
    for side in (-4.4, 4.2):
        canvas.line([(x + side, y - 2.4), (x + side, y + 2.4)], 0.22, tones.near)
        canvas.ring(x + side, y - 2.5, radii=(0.35, 0.6), width=0.2, colour=tones.near)
    for _ in range(rng.randint(5, 9)):
        angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 1.7)
        place = x + away * math.cos(angle), y + away * math.sin(angle)
        size = rng.uniform(0.3, 0.75)
        canvas.circle(*place, size, rng.choice((tones.accent, tones.near, tones.middle)))
        canvas.circle(place[0] - size / 4, place[1] - size / 4, size / 4, tones.light)


def draw_arches(canvas: Canvas) -> None:
    """History: an aqueduct of two storeys before the sun."""
    rng, tones = canvas.rng, canvas.colours
    canvas.circle(rng.uniform(3, 13), rng.uniform(1.6, 2.4), rng.uniform(0.9, 1.4), tones.light)
    _draw_hills(canvas, 6.0, tones.far)
    span = rng.uniform(1.7, 2.6)
    for top, height in ((2.6, 2.4), (5.0, 4.0)):
        canvas.box((0, top), COLUMNS, height, tones.near)
        canvas.box((0, top), COLUMNS, 0.22, tones.middle)
        x = -rng.random() * span
        while x < COLUMNS:
            radius = span * 0.36
            canvas.circle(x + span / 2, top + 0.6 + radius, radius, tones.ground)
            place = (x + span / 2 - radius, top + 0.6 + radius)
            canvas.box(place, 2 * radius, height - 0.6 - radius, tones.ground)
            x += span
    _draw_hills(canvas, 8.0, tones.accent)


def draw_woods(canvas: Canvas) -> None:
    """Nature: hills behind hills with trees on them, and a few birds."""
    rng, tones = canvas.rng, canvas.colours
    canvas.circle(rng.uniform(2, 14), rng.uniform(1.5, 3), rng.uniform(0.6, 1.2), tones.light)
    _draw_hills(canvas, 4.2, tones.far)
    _draw_hills(canvas, 5.6, tones.middle)
    for _ in range(rng.randint(14, 24)):
        x, foot, height = rng.uniform(0, 16), rng.uniform(6.6, 8.6), rng.uniform(1.2, 2.8)
        if rng.random() < 0.6:
            crown = [(x - height / 4, foot), (x + height / 4, foot), (x, foot - height)]
            canvas.shape(crown, tones.near)
        else:
            canvas.line([(x, foot), (x, foot - height / 2)], 0.12, tones.near)
            canvas.circle(x, foot - height * 0.65, height * 0.3, tones.accent)
    _draw_hills(canvas, 8.3, tones.near)
    for _ in range(rng.randint(2, 5)):
        x, y = rng.uniform(1, 15), rng.uniform(0.8, 3)
        canvas.line([(x - 0.3, y - 0.15), (x, y), (x + 0.3, y - 0.15)], 0.06, tones.near)


def _draw_hills(canvas: Canvas, height: float, colour: Colour) -> None:
    """Waves from edge to edge, around `height` from above."""
    length, phase = canvas.rng.uniform(4, 8), canvas.rng.uniform(0, 6)
    ridge = [
        (step / 4, height + 0.5 * math.sin(step / length + phase) + 0.2 * math.sin(step / 2))
        for step in range(65)
    ]
    canvas.shape([(0, ROWS), *ridge, (COLUMNS, ROWS)], colour)


def draw_orbits(canvas: Canvas) -> None:
    """Science: something in the middle, and what goes around it, among stars."""
    rng, tones = canvas.rng, canvas.colours
    for _ in range(60):
        canvas.circle(rng.uniform(0, 16), rng.uniform(0, 9), rng.uniform(0.02, 0.06), tones.light)
    x, y, flat = rng.uniform(4, 12), rng.uniform(3.5, 5.5), rng.uniform(0.35, 0.9)
    for radius in range(2, 9 + rng.randint(0, 3)):
        if rng.random() < 0.7:
            radii = (radius * 1.05, radius * 1.05 * flat)
            canvas.ring(x, y, radii=radii, width=0.05, colour=tones.middle)
            angle = rng.uniform(0, 2 * math.pi)
            place = x + radii[0] * math.cos(angle), y + radii[1] * math.sin(angle)
            canvas.circle(*place, rng.uniform(0.2, 0.6), rng.choice((tones.near, tones.accent)))
    canvas.circle(x, y, 1.2, tones.light)
    canvas.circle(x, y, 0.9, tones.accent)


def draw_pitch(canvas: Canvas) -> None:
    """Sport: mown stripes, lines, and a ball on its way."""
    rng, tones = canvas.rng, canvas.colours
    lean = rng.uniform(-2, 2)
    for stripe in range(-2, 18, 2):
        corners = [(stripe, 0), (stripe + 1, 0), (stripe + 1 + lean, ROWS), (stripe + lean, ROWS)]
        canvas.shape(corners, tones.far)
    x = rng.uniform(4, 12)
    canvas.line([(x + lean / 3, -1), (x - lean / 3, 10)], 0.14, tones.light)
    canvas.ring(x, 4.5, radii=(2.2, 2.2), width=0.14, colour=tones.light)
    canvas.circle(x, 4.5, 0.2, tones.light)
    start, reach, rise = rng.uniform(0, 3), rng.uniform(8, 12), rng.uniform(3, 6)
    path = [(start + reach * t / 20, 7.5 - rise * math.sin(math.pi * t / 26)) for t in range(21)]
    for place in path[::2]:
        canvas.circle(*place, 0.09, tones.near)
    canvas.circle(path[-1][0] + 0.1, path[-1][1] + 0.15, 0.75, tones.middle)
    canvas.circle(*path[-1], 0.75, tones.accent)
    canvas.circle(path[-1][0] - 0.2, path[-1][1] - 0.2, 0.25, tones.light)


def draw_circuit(canvas: Canvas) -> None:
    """Technology: tracks that run from a chip to the edges, by right and half-right angles."""
    rng, tones = canvas.rng, canvas.colours
    x, y, half = rng.uniform(5, 11), rng.uniform(3.5, 5.5), rng.uniform(1.1, 1.7)
    for track in range(-4, 5):
        offset = track * half / 5
        for side in (-1, 1):
            bend, colour = (
                rng.uniform(0.6, 2.2),
                rng.choice((tones.far, tones.middle, tones.accent)),
            )
            turn = bend if track > 0 else -bend
            across = [(x, y + offset), (x + side * (half + abs(track) / 3), y + offset)]
            corner = (across[-1][0] + side * bend, across[-1][1] + turn)
            end = (corner[0] + side * rng.uniform(0.5, 6), corner[1])
            canvas.line([*across, corner, end], 0.12, colour)
            canvas.circle(*end, 0.22, colour)
            canvas.circle(*end, 0.1, tones.ground)
    canvas.box((x - half, y - half), 2 * half, 2 * half, tones.near)
    canvas.box((x - half * 0.7, y - half * 0.7), 1.4 * half, 1.4 * half, tones.middle)
    canvas.circle(x - half * 0.45, y - half * 0.45, 0.14, tones.light)


def draw_sea(canvas: Canvas) -> None:
    """Travel: mountains with snow behind a bay, and a sail or two on it."""
    rng, tones = canvas.rng, canvas.colours
    canvas.circle(rng.uniform(2, 14), rng.uniform(1.2, 2.4), rng.uniform(0.6, 1.1), tones.accent)
    for colour, least, most in ((tones.far, 3.0, 4.6), (tones.middle, 1.8, 3.2)):
        for _ in range(4):
            x, height = rng.uniform(0, 16), rng.uniform(least, most)
            half = height * rng.uniform(0.9, 1.3)
            canvas.shape([(x - half, 6), (x + half, 6), (x, 6 - height)], colour)
            tip = [(x - half / 4, 6 - height * 0.75), (x + half / 4, 6 - height * 0.75)]
            canvas.shape([*tip, (x, 6 - height)], tones.light)
    canvas.box((0, 6), COLUMNS, 3, tones.near)
    for _ in range(14):
        x, y = rng.uniform(0, 16), rng.uniform(6.4, 8.8)
        canvas.line([(x, y), (x + rng.uniform(0.4, 1.4), y)], 0.05, tones.middle)
    for _ in range(rng.randint(1, 2)):
        x, y, size = rng.uniform(2, 14), rng.uniform(6.6, 7.6), rng.uniform(0.7, 1.3)
        canvas.shape([(x, y), (x, y - 2 * size), (x + size, y)], tones.light)
        canvas.shape([(x - 0.1, y), (x - 0.1, y - 1.5 * size), (x - 0.7 * size, y)], tones.accent)
        hull = [(x - size, y + 0.1), (x + 1.2 * size, y + 0.1), (x + 0.8 * size, y + 0.5 * size)]
        canvas.shape([*hull, (x - 0.6 * size, y + 0.5 * size)], tones.accent)
