"""Settings of the site as a whole, which every process reads.

A function takes the group that it needs, and no other.

    settings.site.var_dir  # TIDINGS_VAR_DIR
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from tidings.process.settings.group import Group, Secrets, group_config, named


def _refuse_empty(value: object) -> object:
    if value == "":
        raise ValueError("names no folder")
    return value


# A language with a script, a region or variants behind it (BCP 47); no private tags.
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
# What stands at the top of a page, on a phone as well.
_LONGEST_NAME = 60
_LONGEST_TAGLINE = 160
LOGO_TYPES = (".png", ".jpg", ".jpeg", ".webp")


def _check_words(words: str) -> str:
    if any(not char.isprintable() for char in words):
        raise ValueError("must be one line of text")
    return words.strip()


def _check_language(tag: str) -> str:
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError("expected a language such as en, de or zh-CN")
    return tag


def _check_zone(name: str) -> str:
    try:
        # Without a machine's own tables there is UTC all the same.
        if name != "UTC":
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone such as UTC or Europe/Vienna") from None
    return name


def _check_logo(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in LOGO_TYPES:
        raise ValueError(f"expected a file that ends in one of {', '.join(LOGO_TYPES)}")
    return path


class SiteSettings(Group):
    """Where the site's files are, what it signs with, what it logs, and what it says of itself."""

    model_config = group_config()

    var_dir: Annotated[Path, BeforeValidator(_refuse_empty)] = Field(
        Path("var"), description="folder for everything written at run time"
    )
    secret_keys: Secrets = Field(
        (),
        description="comma-separated; the first signs, all verify; "
        "default: kept in VAR_DIR/secret_keys",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level to log"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON lines elsewhere"
    )
    url: str = Field(
        "http://127.0.0.1:8000",
        validation_alias=named("SITE_URL"),
        description="where readers find the site; no last slash",
    )
    name: Annotated[str, AfterValidator(_check_words)] = Field(
        "Tidings",
        min_length=1,
        max_length=_LONGEST_NAME,
        validation_alias=named("SITE_NAME"),
        description="stands on every page and in the feeds",
    )
    tagline: Annotated[str, AfterValidator(_check_words)] = Field(
        "Your front page, in the order that suits you",
        max_length=_LONGEST_TAGLINE,
        validation_alias=named("SITE_TAGLINE"),
        description="the line below the name; may be empty",
    )
    language: Annotated[str, AfterValidator(_check_language)] = Field(
        "en",
        validation_alias=named("SITE_LANGUAGE"),
        description="of the articles whose source names none",
    )
    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        "UTC", validation_alias=named("SITE_TIME_ZONE"), description="of the dates on the pages"
    )
    logo: Annotated[
        Path | None, BeforeValidator(lambda path: path or None), AfterValidator(_check_logo)
    ] = Field(
        None,
        validation_alias=named("SITE_LOGO"),
        description="a picture, PNG, JPEG or WebP, that stands beside the name and in the tab",
    )
