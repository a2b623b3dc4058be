"""Settings of the jobs daemon.

A function takes the group that it needs, and no other.

    settings.jobs.keep_days  # TIDINGS_JOBS_KEEP_DAYS
"""

from __future__ import annotations

from pydantic import Field

from tidings.process.settings.group import AddressList, Bind, Group, group_config, named


class JobsSettings(Group):
    """Where the daemon answers its operators, and what its jobs work on."""

    model_config = group_config("JOBS_")

    metrics_bind: Bind = Field(
        "127.0.0.1:8300", description="/metrics and health of the jobs daemon"
    )
    keep_days: int = Field(
        90,
        ge=1,
        description="behaviours, the audit log and the history of jobs and sources go after this",
    )
    feed_urls: AddressList = Field(
        (),
        validation_alias=named("FEED_URLS"),
        description="comma-separated addresses of RSS/Atom feeds, asked hourly, and of OPML lists "
        "(.opml), asked daily; each is a source",
    )
    training_command: str = Field(
        "",
        validation_alias=named("TRAINING_COMMAND"),
        description="program and arguments run nightly in place of `tidings train`",
    )
