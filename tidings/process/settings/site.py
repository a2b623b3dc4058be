"""Settings of the site as a whole, which every process reads.

A function takes the group that it needs, and no other.

    settings.site.var_dir  # TIDINGS_VAR_DIR
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tidings.process.settings.group import Group, Secrets, group_config, named


def _refuse_empty(value: object) -> object:
    if value == "":
        raise ValueError("names no folder")
    return value


class SiteSettings(Group):
    """Where the site's files are, what it signs with, what it logs."""

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
        description="where readers find the static pages; no last slash",
    )
