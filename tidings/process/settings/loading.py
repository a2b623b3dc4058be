"""Reads the groups of settings from the environment, and says all that is wrong with them at once.

A group is added here and in a module of its own.

    settings = load_settings()
    for setting in describe(settings):
        print(setting.variable, setting.value)
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tidings.process.errors import PREFIX, SettingsError
from tidings.process.settings.chat import ChatSettings
from tidings.process.settings.content import ContentSettings
from tidings.process.settings.database import DatabaseSettings
from tidings.process.settings.gateway import GatewaySettings
from tidings.process.settings.group import Group
from tidings.process.settings.jobs import JobsSettings
from tidings.process.settings.reading import ReadingSettings
from tidings.process.settings.recommender import RecommenderSettings
from tidings.process.settings.redis import RedisSettings
from tidings.process.settings.shop import ShopSettings
from tidings.process.settings.site import SiteSettings
from tidings.process.site_folder import VAR_DIR, SiteFolder, find_site, read_env_file

# Settings of earlier releases: an upgrade must not stop at an environment that still has one.
RETIRED = frozenset({f"{PREFIX}RPC_LEAN"})
GROUPS: Mapping[str, type[Group]] = {
    "site": SiteSettings,
    "database": DatabaseSettings,
    "redis": RedisSettings,
    "gateway": GatewaySettings,
    "chat": ChatSettings,
    "recommender": RecommenderSettings,
    "reading": ReadingSettings,
    "content": ContentSettings,
    "jobs": JobsSettings,
    "shop": ShopSettings,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """One group a process or subject; each is read-only.

    Attributes:
        given: the flat names, such as `redis_url`, that were set and not left to defaults.
    """

    site: SiteSettings
    database: DatabaseSettings
    redis: RedisSettings
    gateway: GatewaySettings
    chat: ChatSettings
    recommender: RecommenderSettings
    reading: ReadingSettings
    content: ContentSettings
    jobs: JobsSettings
    shop: ShopSettings
    given: frozenset[str]

    @property
    def redis_is_embedded(self) -> bool:
        """True when no Redis was named, so `tidings up` brings its own."""
        return "redis_url" not in self.given


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as a person sees it.

    Attributes:
        name: flat and in lower case, such as `gateway_bind`.
        variable: the environment variable.
    """

    name: str
    variable: str
    value: Any
    is_given: bool
    meaning: str


def load_settings(**flat: Any) -> Settings:
    """The settings of this process, by its environment and the file `.env` of its site.

    Args:
        flat: flat name → value, such as `gateway_bind="127.0.0.1:80"`; wins over both.

    Raises:
        SettingsError: naming each key that is wrong, and what would be right.
    """
    site = find_site()
    return _read(str(site.env_file), site, flat)


def read_settings(env_file: str | None, /, **flat: Any) -> Settings:
    """As `load_settings`, with another file, or none, and the site in the current folder."""
    return _read(env_file, SiteFolder(Path(), Path(VAR_DIR)), flat)


def _read(env_file: str | None, site: SiteFolder, flat: Mapping[str, Any]) -> Settings:
    _refuse_unknown_keys(env_file)
    groups: dict[str, Any] = {}
    given: set[str] = set()
    wrong: list[str] = []
    if unknown := set(flat) - set(flat_names()):
        raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
    for name, kind in GROUPS.items():
        variables = kind.variables()
        values = {
            field: flat[flat_name]
            for variable, field in variables.items()
            if (flat_name := _flat(variable)) in flat
        }
        try:
            group = kind(_env_file=env_file, **values)
        except ValidationError as ex:
            wrong += _explain(ex, variables)
            continue
        given |= {_flat(v) for v, field in variables.items() if field in group.model_fields_set}
        groups[name] = group
    if wrong:
        raise SettingsError("; ".join(wrong))
    _place(groups, site, given, flat)
    var_dir = str(groups["site"].var_dir)
    completed = {name: group.completed(var_dir) for name, group in groups.items()}
    return Settings(**completed, given=frozenset(given))


def _place(
    groups: dict[str, Any], site: SiteFolder, given: set[str], flat: Mapping[str, Any]
) -> None:
    """Relative paths of the `.env` are relative to its folder, and those of the environment to the
    current one."""

    def is_from_file(name: str) -> bool:
        return name in given and name not in flat and PREFIX + name.upper() not in os.environ

    var_dir = groups["site"].var_dir
    if "var_dir" not in given:
        groups["site"] = groups["site"].model_copy(update={"var_dir": site.var_dir})
    elif is_from_file("var_dir"):
        groups["site"] = groups["site"].model_copy(update={"var_dir": site.home / var_dir})
    if is_from_file("site_logo") and groups["site"].logo is not None:
        logo = site.home / groups["site"].logo
        groups["site"] = groups["site"].model_copy(update={"logo": logo})
    if is_from_file("database_url"):
        groups["database"] = groups["database"].below(site.home)


def flat_names() -> tuple[str, ...]:
    """Every setting by its flat name, in the order of the groups."""
    return tuple(_flat(variable) for kind in GROUPS.values() for variable in kind.variables())


def describe(settings: Settings) -> Iterator[Setting]:
    """Every setting with its value, whether it was set, and what it means."""
    for name, kind in GROUPS.items():
        for variable, field in kind.variables().items():
            flat = _flat(variable)
            yield Setting(
                name=flat,
                variable=variable,
                value=getattr(getattr(settings, name), field),
                is_given=flat in settings.given,
                meaning=kind.model_fields[field].description or "",
            )


def _flat(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def _explain(ex: ValidationError, variables: Mapping[str, str]) -> Iterator[str]:
    """One line for each error; `variables` is variable → field."""
    variable_of = {field: variable for variable, field in variables.items()}
    for error in ex.errors():
        place = str(error["loc"][0]) if error["loc"] else PREFIX.rstrip("_")
        key = variable_of.get(place, place.upper())
        message = error["msg"].removeprefix("Value error, ")
        hides = not error["loc"] or key.endswith(("_KEYS", "_SECRETS", "_URL")) or "got" in message
        got = "" if hides else f", got {error['input']!r}"
        yield f"{key}: {message}{got}"


def _refuse_unknown_keys(env_file: str | None) -> None:
    known = {PREFIX + name.upper() for name in flat_names()} | RETIRED
    in_file = read_env_file(Path(env_file)) if env_file else {}
    for key in sorted({*os.environ, *in_file}):
        if key.startswith(PREFIX) and key not in known:
            close = difflib.get_close_matches(key, known - RETIRED, n=1)
            hint = f"; did you mean {close[0]}?" if close else "; `tidings settings` lists them all"
            raise SettingsError(f"{key}: there is no such setting{hint}")
