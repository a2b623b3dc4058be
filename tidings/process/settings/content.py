"""Settings of what comes in from elsewhere, and of the pictures that are kept of it.

A function takes the group that it needs, and no other.

    settings.content.covers  # TIDINGS_COVERS
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tidings.process.settings.group import Group, group_config


class ContentSettings(Group):
    """Which machines are asked for content, and what is kept of it."""

    model_config = group_config()

    fetch_private_addresses: bool = Field(
        False,
        description="whether feeds and pictures may come from machines of the own network; "
        "an address that a stranger names then reaches them too",
    )
    feed_entries: int = Field(
        1000, ge=1, description="taken of a feed each time it is read; of more, the newest"
    )
    covers: Literal["kept", "linked"] = Field(
        "kept",
        description="kept: pictures of articles are fetched and served from here; "
        "linked: readers load them from where they are",
    )
    images_max_mib: int = Field(
        2048,
        ge=1,
        description="pictures kept in VAR_DIR/images; of more, the oldest without an article go",
    )

    @property
    def images_max_bytes(self) -> int:
        return self.images_max_mib * 1024**2
