"""Pictures that authors bring in, to be shown as covers and in texts.

The row and the entry in the audit log are written first, and the file before they are committed:
what is refused leaves no file behind, and no row is without its file. Rejected: the file first; one
without a row is served until it is swept.

    perform(engine, actor, articles, lambda act: keep(act, images, picture, max_bytes=2**30))
"""

from __future__ import annotations

import errno

from tidings.editing.acting import Act
from tidings.importing.pictures import Picture
from tidings.news.images import Image, Images, ImagesFullError, find_image, record_image
from tidings.news.storing import read_database_clock

IMAGE = "image"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def keep(act: Act, images: Images, picture: Picture, *, max_bytes: int) -> Image:
    """Keep a picture; one that is kept already stays as it is.

    Args:
        images: the files.
        picture: as it was decoded and encoded anew.
        max_bytes: of all pictures together.

    Raises:
        ImagesFullError: there is no room for it.
    """
    found = Image(picture.digest, picture.width, picture.height, size=len(picture.data))
    if find_image(act.conn, picture.digest) is None:
        record_image(
            act.conn,
            found,
            added_by=act.actor.name,
            at=read_database_clock(act.conn),
            max_bytes=max_bytes,
        )
        act.note("add", IMAGE, None, after=found._asdict())
    try:
        images.write(picture.digest, picture.data)
    except OSError as ex:
        if ex.errno not in _NO_ROOM:
            raise
        raise ImagesFullError("the disk has no room for another picture") from ex
    return found
