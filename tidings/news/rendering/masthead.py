"""What the site says of itself on every page: its name, the line below it, where it is, its
language.

Plain values rather than the settings: a test and the benchmark make pages of a site that has none.

    Renderer(Masthead(url="https://news.example", name="The Tide"))
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

from tidings.process.settings.site import SiteSettings


@dataclass(frozen=True, slots=True)
class Masthead:
    """A site's own facts.

    Attributes:
        url: where readers find it, without a last slash.
        language: of its articles whose source names none, as BCP 47 has it.
        zone: of the dates on its pages.
        has_logo: whether there is a picture at `/logo.png`.
    """

    url: str
    name: str = "Tidings"
    tagline: str = ""
    language: str = "en"
    zone: tzinfo = UTC
    has_logo: bool = False

    @classmethod
    def of(cls, site: SiteSettings) -> Self:
        """That of the site with these settings."""
        return cls(
            url=site.url.rstrip("/"),
            name=site.name,
            tagline=site.tagline,
            language=site.language,
            zone=UTC if site.time_zone == "UTC" else ZoneInfo(site.time_zone),
            has_logo=site.logo is not None,
        )

    def name_day(self, moment: datetime) -> str:
        """The day of a moment at the site's place, in words where they are the site's own."""
        local = moment.astimezone(self.zone)
        if self.language.partition("-")[0].lower() == "en":
            return f"{local.day} {local:%B} {local.year}"
        return f"{local:%Y-%m-%d}"
