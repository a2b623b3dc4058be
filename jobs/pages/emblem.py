"""The site's own pictures: the icon of its tabs, and its logo beside the name.

Made anew from the operator's file, so that what is served is small and a picture, no matter what
the file holds. Without one the icon is drawn here. Rejected: the file as it is; a photograph of ten
megabytes would be fetched with each first visit.

    draw_emblem(Path("logo.webp"))  # {"favicon.ico": ..., "logo.png": ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import structlog
from PIL import Image, ImageDraw, ImageOps

from tidings.importing.pictures import PictureError, decoded

ICON = "favicon.ico"
LOGO = "logo.png"
# Twice the size of the name on a page, for screens with two pixels for one.
LOGO_SIZE = (640, 128)
ICON_SIZES = ((16, 16), (32, 32), (48, 48))
# The colours of `theme.css`.
PAPER, ACCENT = (255, 255, 255, 255), (138, 28, 28, 255)

log = structlog.get_logger(__name__)


def draw_emblem(logo: Path | None) -> Mapping[str, bytes]:
    """The files of the site's own pictures, by their paths; only the icon where there is no logo
    that can be read."""
    if logo is None:
        return {ICON: _draw_icon()}
    try:
        return _read_logo(logo, logo.stat().st_mtime_ns)
    except (OSError, PictureError) as ex:
        log.warning("logo_unreadable", path=str(logo), error=repr(ex))
        return {ICON: _draw_icon()}


@lru_cache(maxsize=1)
def _read_logo(path: Path, _changed_ns: int) -> Mapping[str, bytes]:
    """Raises:
    OSError: the file cannot be read.
    PictureError: it is no picture that can be shown.
    PicturesBusyError: as `decoded`; the next build tries again.
    """
    with decoded(path.read_bytes(), within=LOGO_SIZE) as picture:
        return {ICON: _as_icon(picture.convert("RGBA")), LOGO: _encode(picture)}


@lru_cache(maxsize=1)
def _draw_icon() -> bytes:
    """A T on the site's colour."""
    side = 192
    icon = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(icon)
    draw.rounded_rectangle((0, 0, side - 1, side - 1), radius=36, fill=ACCENT)
    draw.rectangle((42, 48, 150, 72), fill=PAPER)
    draw.rectangle((84, 48, 108, 150), fill=PAPER)
    return _as_icon(icon)


def _as_icon(picture: Image.Image) -> bytes:
    square = ImageOps.pad(picture, ICON_SIZES[-1], color=(0, 0, 0, 0))
    out = BytesIO()
    square.save(out, format="ICO", sizes=ICON_SIZES)
    return out.getvalue()


def _encode(picture: Image.Image) -> bytes:
    out = BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()
