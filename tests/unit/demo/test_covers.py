"""The demo's covers are drawn, each article's its own, and always the same."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tidings.demo.covers import HEIGHT, WIDTH, draw_cover
from tidings.demo.load import read_demo
from tidings.process.clock import moment


def test_every_article_of_the_demo_has_a_cover_of_its_own() -> None:
    drawn = [draw_cover(row["channel"], row["id"]) for row in read_demo(moment(0))]

    assert len(drawn) == 150
    assert len(set(drawn)) == len(drawn)
    # All of them beside what a site may keep: less than one photograph from a camera.
    assert sum(len(cover) for cover in drawn) < 5 * 1024 * 1024


def test_an_article_has_the_same_cover_whenever_it_is_drawn() -> None:
    assert draw_cover("food", "demo-food-01") == draw_cover("food", "demo-food-01")


def test_a_cover_is_of_the_kind_and_shape_that_pages_show() -> None:
    with Image.open(io.BytesIO(draw_cover("travel", "demo-travel-01"))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (WIDTH, HEIGHT))
        assert len(picture.convert("RGB").getcolors(WIDTH * HEIGHT) or []) > 5


def test_a_channel_without_a_motif_is_no_channel_of_the_demo() -> None:
    with pytest.raises(KeyError):
        draw_cover("weather", "demo-weather-01")
