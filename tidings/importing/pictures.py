"""Turns a picture, which a stranger made, into one that may be served from the site's own address.

It is decoded and encoded anew as WebP: what is served is pixels, and nothing that hid behind them,
such as a second document or the place where a photo was taken. Pillow is told which formats there
may be, and the size that a file claims is judged before a pixel of it is decoded. SVG is a document
that runs, so it is no picture here. Rejected: keeping the bytes and checking them; a file may be a
good picture and something else as well.

    picture = read_picture(Path("tide.jpg").read_bytes())
    picture.width, picture.digest
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
# A photo as cameras of telephones make it, and 100 MB while it is decoded.
MAX_PIXELS = 25_000_000
MAX_BYTES = 5 * 1024 * 1024
# As wide as a page shows it, on a display with two dots to a pixel.
MAX_WIDTH = 1200
# A strip of 1,200 by 20,833 would be shown as a line.
MAX_HEIGHT = 4 * MAX_WIDTH
# Smaller ones are icons, advertisements, and pixels that count visits.
MIN_COVER_WIDTH = 200
# Pillow's documentation calls this the usual balance of size and looks.
QUALITY = 80
WAIT_S = 10

# Each may need 200 MB; as many pictures at once as the gateway has threads would be gigabytes.
_decoding = threading.BoundedSemaphore(2)


class PictureError(ValueError):
    """The bytes are no picture that is taken in. Says why."""


class PicturesBusyError(Exception):
    """Other pictures are being decoded; the same one may be brought again."""


@dataclass(frozen=True, slots=True)
class Picture:
    """WebP, with its size in pixels."""

    data: bytes
    width: int
    height: int

    @property
    def digest(self) -> str:
        """What names it: the SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def read_picture(data: bytes) -> Picture:
    """The picture, the right way up, at most 1,200 pixels wide, without anything that is not seen.
    Of a moving one it is the first frame.

    Raises:
        PictureError: it is of another format, damaged, or larger than 5 MiB or 25 million pixels.
        PicturesBusyError: there was no room to decode it within 10 s.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(f"the picture has more than {MAX_BYTES} bytes")
    written = io.BytesIO()
    with decoded(data, within=(MAX_WIDTH, MAX_HEIGHT)) as plain:
        plain.save(written, "WEBP", quality=QUALITY)
    return Picture(written.getvalue(), *plain.size)


@contextmanager
def decoded(data: bytes, *, within: tuple[int, int]) -> Iterator[Image.Image]:
    """A picture's pixels, the right way up and no larger than `within`, to be encoded in the block.

    Raises:
        PictureError: it is of another format, damaged, or larger than 25 million pixels.
        PicturesBusyError: there was no room to decode it within 10 s.
    """
    with _turn(), _damage_named():
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened)
            # Of a JPEG only as many pixels are decoded as are needed.
            opened.draft(None, (2 * within[0], 2 * within[0]))
            upright = ImageOps.exif_transpose(opened)
        plain = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        plain.thumbnail(within)
        # A picture of nothing but its pixels: `info` holds EXIF, profiles and comments.
        plain.info.clear()
        yield plain


def _check_size(opened: Image.Image) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"the picture has {width} by {height} pixels, at most {MAX_PIXELS}")


@contextmanager
def _turn() -> Iterator[None]:
    if not _decoding.acquire(timeout=WAIT_S):
        raise PicturesBusyError(f"other pictures were being decoded for {WAIT_S} s")
    try:
        yield
    finally:
        _decoding.release()


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"it is no picture in {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"the picture has more than {MAX_PIXELS} pixels") from None
    except Exception as ex:  # What decoders raise for damaged bytes is written nowhere.
        raise PictureError(f"the picture is damaged: {str(ex) or type(ex).__name__}") from ex
