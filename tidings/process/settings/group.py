"""What the groups of settings have in common: how a field becomes a variable, and kinds of values.

The variable of a field is `TIDINGS_`, the group's prefix and the field's name; a field whose
variable is named otherwise says so with `named`.

    class ChatSettings(Group):
        model_config = group_config("CHAT_")
        bind: Bind = Field("127.0.0.1:8001", description="WebSockets")  # TIDINGS_CHAT_BIND
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tidings.process.errors import PREFIX
from tidings.process.listening import split_bind

# As browsers write it: a scheme and a host in small letters, a port, and nothing behind.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII)


class Group(BaseSettings):
    """The settings of one process, or of one subject. Read-only after boot."""

    def completed(self, var_dir: str) -> Self:
        """This group with the defaults that follow from where the site keeps its files."""
        del var_dir
        return self

    @classmethod
    def variables(cls) -> dict[str, str]:
        """The name of each field's variable → the field."""
        prefix = cls.model_config.get("env_prefix", PREFIX)
        return {
            str(field.validation_alias or f"{prefix}{name}".upper()): name
            for name, field in cls.model_fields.items()
        }


def group_config(prefix: str = "") -> SettingsConfigDict:
    """The configuration of a group whose variables begin with `TIDINGS_` and `prefix`."""
    return SettingsConfigDict(
        env_prefix=PREFIX + prefix, extra="ignore", frozen=True, populate_by_name=True
    )


def named(variable: str) -> str:
    """The variable of a field without the group's prefix, as `validation_alias`."""
    return PREFIX + variable


def check_bind(value: str) -> str:
    """`value`, if it is `HOST:PORT` or `unix:/absolute/path`.

    Raises:
        ValueError: it is neither.
    """
    if value.startswith("unix:"):
        if not value.removeprefix("unix:").startswith("/"):
            raise ValueError(f"expected unix:/absolute/path, got {value!r}")
        return value
    split_bind(value)
    return value


def check_origin(value: str) -> str:
    """`value`, if it is an origin as browsers write it.

    Raises:
        ValueError: it is none.
    """
    if not _ORIGIN.fullmatch(value):
        raise ValueError(f"expected https://host or https://host:port, got {value!r}")
    return value


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        check_origin(origin)
    return origins


def _split_commas(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_addresses(value: Any) -> Any:
    """A comma may be part of an address; only one before the beginning of another parts them."""
    if isinstance(value, str):
        parts = re.split(r",(?=\s*(?:https?://|$))", value.strip(), flags=re.IGNORECASE)
        return tuple(part.strip() for part in parts if part.strip())
    return value


def _check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        if not address.lower().startswith(("http://", "https://")):
            raise ValueError(f"expected http and https addresses, got {address[:100]!r}")
    return addresses


def _check_secrets(keys: tuple[str, ...]) -> tuple[str, ...]:
    if any(len(key) < 32 for key in keys):
        raise ValueError("each key needs 32 characters or more; `openssl rand -hex 32` makes one")
    return keys


Bind = Annotated[str, AfterValidator(check_bind)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
AddressList = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split_addresses), AfterValidator(_check_addresses)
]
OriginList = Annotated[CommaSeparated, AfterValidator(_check_origins)]
# 300 a second for an hour, which is no limit any more. Times as much of an address it is a number
# that Redis's scripts (2**53) and fields of HTTP (15 digits, RFC 9651) still tell exactly.
Quota = Annotated[int, Field(ge=0, le=1_000_000)]
Secrets = Annotated[CommaSeparated, AfterValidator(_check_secrets)]
