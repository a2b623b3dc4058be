"""`/images/{digest}`: a picture that is kept here.

Its name is what it holds, so caches keep it for ever and never ask again. It is served as nothing
but a picture: the type is not guessed, and a browser that is made to open it as a page runs nothing
in it. Behind nginx the file is sent without asking the gateway.

    curl -O http://127.0.0.1:8000/images/1f0c…
"""

from __future__ import annotations

from http import HTTPStatus

import falcon

from tidings.http.caching import FOR_EVER
from tidings.http.openapi import Operation
from tidings.http.parameters import read_parameters
from tidings.news.images import MEDIA_TYPE, ImageNotFoundError, Images

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


class ImageResource:
    """`GET /images/{digest}`."""

    caching = FOR_EVER
    operations = {
        "get": Operation(
            "A picture that is kept here, as cards and articles name it; WebP",
            path_parameters={"digest": "the SHA-256 of the picture, in hex"},
            problems=(HTTPStatus.NOT_FOUND,),
        )
    }

    def __init__(self, images: Images) -> None:
        self._images = images

    def on_get(self, req: falcon.Request, resp: falcon.Response, digest: str) -> None:
        read_parameters(req)
        found = self._images.read(digest)
        if found is None:
            raise ImageNotFoundError(digest[:64])
        resp.content_type = MEDIA_TYPE
        resp.set_header("Content-Security-Policy", CONTENT_POLICY)
        resp.data = found
