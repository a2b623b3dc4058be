"""Every setting of every process: one typed object, read once at start, passed on as an argument.

Environment variables `TIDINGS_*` win over a `.env` file, which wins over the defaults. The
variables are flat; the object has one group a process, in a module of its own, so that a function
can say which settings it needs. A bad value stops the process at boot with the key's name; so does
a key that belongs to no setting, since a misspelt setting that is silently ignored is found only
when it was needed. Rejected: a configuration file of our own; every platform that runs processes
already knows how to set their environment.

    settings = load_settings()
    listen(settings.gateway.bind)  # TIDINGS_GATEWAY_BIND
"""

from tidings.process.settings.chat import ChatSettings
from tidings.process.settings.content import ContentSettings
from tidings.process.settings.database import DatabaseSettings
from tidings.process.settings.gateway import GatewaySettings
from tidings.process.settings.jobs import JobsSettings
from tidings.process.settings.loading import (
    Settings,
    describe,
    flat_names,
    load_settings,
    read_settings,
)
from tidings.process.settings.reading import ReadingSettings
from tidings.process.settings.recommender import RecommenderSettings
from tidings.process.settings.redis import RedisSettings
from tidings.process.settings.secret_keys import make_secret_keys, read_secret_keys
from tidings.process.settings.shop import ShopSettings
from tidings.process.settings.site import SiteSettings

__all__ = [
    "ChatSettings",
    "ContentSettings",
    "DatabaseSettings",
    "GatewaySettings",
    "JobsSettings",
    "ReadingSettings",
    "RecommenderSettings",
    "RedisSettings",
    "Settings",
    "ShopSettings",
    "SiteSettings",
    "describe",
    "flat_names",
    "load_settings",
    "make_secret_keys",
    "read_secret_keys",
    "read_settings",
]
