"""`POST /images`: an author's picture, which articles then name as `/images/…`.

It is decoded and encoded anew before it is kept, so what it was called and declared as counts for
nothing. Rejected: to ask for a `Content-Type`; nothing would follow from it.

    curl -H "Authorization: Bearer $KEY" --data-binary @tide.jpg http://127.0.0.1:8000/images
"""

from __future__ import annotations

from http import HTTPStatus
from threading import BoundedSemaphore

import falcon
import msgspec

from gateway.resources.bodies import PICTURE_BYTES
from gateway.resources.editing.desk import Desk
from tidings.editing import pictures
from tidings.http.bodies import answer_json, read_raw
from tidings.http.bulkhead import Bulkhead
from tidings.http.limits import LimitClass
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.importing.pictures import FORMATS, read_picture
from tidings.news.images import Images
from tidings.readers.keys import Role

# As many as are decoded at once in a process, each of which may take 200 MB.
AT_WORK = 2
# With those that wait for one of them; all other threads stay with the readers.
INSIDE = 4


class ImageShown(msgspec.Struct, frozen=True):
    """A picture that is kept; `address` is what a cover or a text names it by."""

    address: str
    digest: str
    width: int
    height: int
    size: int


class ImagesResource:
    """`POST /images`.

    Args:
        images: where pictures are kept.
        max_bytes: of all of them together.
    """

    needs_role = {"post": Role.AUTHOR}
    limit_class = LimitClass.WRITE
    operations = {
        "post": Operation(
            "Keep a picture of at most 5 MiB and 25 million pixels, for covers and texts; what it "
            "shows is kept, and nothing else that is in it",
            takes=tuple(f"image/{name.lower()}" for name in FORMATS),
            answers=ImageShown,
            status=HTTPStatus.CREATED,
            problems=(
                HTTPStatus.UNAUTHORIZED,
                HTTPStatus.FORBIDDEN,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                HTTPStatus.INSUFFICIENT_STORAGE,
            ),
        )
    }

    def __init__(self, desk: Desk, images: Images, *, max_bytes: int) -> None:
        self._desk = desk
        self._images = images
        self._max_bytes = max_bytes
        self._decoding = Bulkhead("pictures", AT_WORK, [BoundedSemaphore(INSIDE)])

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        read_parameters(req)
        data = read_raw(req, PICTURE_BYTES)
        with self._decoding:
            picture = read_picture(data)
        kept = self._desk.change(
            req,
            lambda act: pictures.keep(act, self._images, picture, max_bytes=self._max_bytes),
        )
        resp.location = f"/images/{kept.digest}"
        answer_json(
            resp,
            ImageShown(
                address=resp.location,
                digest=kept.digest,
                width=kept.width,
                height=kept.height,
                size=kept.size,
            ),
            HTTPStatus.CREATED,
        )
