"""Settings of what is kept about readers, by the gateway and the recommender alike.

A group of its own, so that neither process needs the other's settings.

    settings.reading.history_batches  # TIDINGS_HISTORY_BATCHES
"""

from __future__ import annotations

from pydantic import Field

from tidings.process.settings.group import Group, group_config


class ReadingSettings(Group):
    """How much is kept of what readers were shown and did."""

    model_config = group_config()

    history_batches: int = Field(
        64, ge=1, le=10_000, description="newest batches kept per reader, of all channels"
    )
    seen_articles: int = Field(
        800, ge=1, le=100_000, description="latest exposures not shown again, per reader"
    )
    reader_ttl_days: int = Field(
        30, ge=1, description="a reader's state is dropped after this idle time"
    )
    behaviour_backlog: int = Field(
        1_000_000, ge=1000, description="behaviours waiting for SQL before new ones get 503"
    )
