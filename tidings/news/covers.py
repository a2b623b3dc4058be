"""Which picture stands with an article: the one that is kept here, else the source's by HTTPS.

One rule for cards, whole articles and the static pages, so that no page shows what another leaves
out. A picture that comes by plain HTTP is shown nowhere: browsers block it on a page that came by
HTTPS. Rejected: the address in a column of its own; it follows from two others.

    shown_cover("https://example.org/tide.jpg", image=None)
"""

from __future__ import annotations


def shown_cover(cover: str | None, image: str | None) -> str | None:
    """The address that readers' browsers fetch, from the site's own root or absolute.

    Args:
        cover: as the source names it.
        image: the SHA-256 of the picture that is kept here, None while there is none.
    """
    if image:
        return f"/images/{image}"
    return cover if cover and cover.startswith("https://") else None
