"""Pictures as strangers make them: sideways, moving, huge, damaged, or no pictures at all."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tidings.importing import pictures
from tidings.importing.pictures import (
    FORMATS,
    MAX_BYTES,
    MAX_WIDTH,
    Picture,
    PictureError,
    PicturesBusyError,
    read_picture,
)

ORIENTATION, GPS = 0x0112, 0x8825


@cache
def drawn(kind: str = "PNG", size: tuple[int, int] = (300, 200), mode: str = "RGB") -> bytes:
    """A picture that is red on its left half and blue on its right."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1]))
    target = io.BytesIO()
    image.convert(mode).save(target, kind)
    return target.getvalue()


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data), formats=["WEBP"])


def claims(width: int, height: int) -> bytes:
    """A PNG of some bytes that says it is as large as this."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_becomes_webp(kind: str) -> None:
    picture = read_picture(drawn(kind))
    assert (picture.width, picture.height) == opened(picture).size == (300, 200)
    assert len(picture.digest) == 64


def test_what_is_wide_is_made_narrower() -> None:
    """In its own proportions; what is narrow stays as it is."""
    picture = read_picture(drawn(size=(2400, 1200)))
    assert (picture.width, picture.height) == (MAX_WIDTH, 600)
    assert read_picture(drawn("JPEG", (2400, 1200))).width == MAX_WIDTH
    assert read_picture(drawn(size=(1, 1))).width == 1


def test_a_photo_stands_upright_and_tells_nothing_else() -> None:
    """The orientation is applied; the place where it was taken, and all else, is gone."""
    photo = Image.open(io.BytesIO(drawn("JPEG")))
    exif = photo.getexif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    exif.get_ifd(GPS)[1] = "N"
    exif[0x010E] = "SECRET PLACE"
    target = io.BytesIO()
    photo.save(target, "JPEG", exif=exif, comment=b"SECRET PLACE")

    picture = read_picture(target.getvalue())

    assert (picture.width, picture.height) == (200, 300)
    top = opened(picture).convert("RGB").getpixel((100, 20))
    assert isinstance(top, tuple)
    assert top[0] > 200
    assert top[2] < 60
    assert b"SECRET" not in picture.data
    assert dict(opened(picture).getexif()) == {}


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_every_way_to_keep_colours_is_read(mode: str) -> None:
    assert read_picture(drawn(mode=mode)).width == 300


def test_what_can_be_seen_through_stays_so() -> None:
    target = io.BytesIO()
    Image.new("RGBA", (300, 200), (255, 0, 0, 0)).save(target, "PNG")
    assert opened(read_picture(target.getvalue())).mode == "RGBA"


def test_of_a_moving_picture_the_first_frame_stays() -> None:
    frames = [Image.new("RGB", (300, 200), colour) for colour in ("red", "blue", "green")]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:])
    image = opened(read_picture(target.getvalue()))
    assert getattr(image, "n_frames", 1) == 1
    first = image.convert("RGB").getpixel((9, 9))
    assert isinstance(first, tuple)
    assert first[0] > 200


@pytest.mark.parametrize("size", [(60_000, 60_000), (25_000_001, 1), (5001, 5000)])
def test_a_bomb_is_refused_by_its_head(size: tuple[int, int]) -> None:
    """Before a pixel is decoded: this one has no pixels at all."""
    with pytest.raises(PictureError, match="pixels"):
        read_picture(claims(*size))


def test_a_file_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(PictureError, match="more than 5242880 bytes"):
        read_picture(drawn() + bytes(MAX_BYTES))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"<!doctype html><html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%PDF-1.7",
        b"\x00\x00\x01\x00\x01\x00",
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """SVG is a document that may run."""
    with pytest.raises(PictureError):
        read_picture(data)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "TGA", "PDF", "EPS"])
def test_other_formats_are_refused(kind: str) -> None:
    """Each decoder is a way in; these have no place on the web."""
    with pytest.raises(PictureError, match="no picture in JPEG"):
        read_picture(drawn(kind))


def test_what_hides_behind_a_picture_is_gone() -> None:
    """A file may be a good picture and a page that runs at once."""
    script = b"<script>alert(document.domain)</script>"
    for polyglot in (drawn("GIF") + script, drawn("JPEG") + script, drawn("PNG") + script):
        assert b"script" not in read_picture(polyglot).data


def test_a_picture_cut_short_is_refused() -> None:
    for kind in FORMATS:
        with pytest.raises(PictureError):
            read_picture(drawn(kind)[: len(drawn(kind)) // 2])


@given(st.sampled_from(FORMATS), st.data())
def test_damaged_pictures_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    """Nothing but the reader's own error leaves it."""
    damaged = bytearray(drawn(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(PictureError):
        assert read_picture(bytes(damaged)).width <= MAX_WIDTH


def test_no_more_pictures_are_decoded_at_once_than_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "WAIT_S", 0.05)
    with pictures._decoding, pictures._decoding, pytest.raises(PicturesBusyError):
        read_picture(drawn())
    assert read_picture(drawn()).width == 300
