"""The keys that sign tokens and readers' ids: from the setting, or kept beside the site's data.

A function takes the group that it needs, and no other.

    signing_key, *older = read_secret_keys(settings.site)
"""

from __future__ import annotations

import os
import secrets

from tidings.process.errors import PREFIX, SettingsError
from tidings.process.settings.site import SiteSettings


def read_secret_keys(site: SiteSettings) -> tuple[bytes, ...]:
    """The signing keys: from the setting, or else from `VAR_DIR/secret_keys`.

    Raises:
        SettingsError: when there are none. `make_secret_keys` writes that file for `tidings up`.
    """
    keys = site.secret_keys
    path = site.var_dir / "secret_keys"
    if not keys and path.is_file():
        keys = tuple(path.read_text().split())
    if not keys:
        raise SettingsError(
            f"{PREFIX}SECRET_KEYS: not set, and {path} does not exist; "
            "`openssl rand -hex 32` makes a key"
        )
    return tuple(key.encode() for key in keys)


def make_secret_keys(site: SiteSettings) -> None:
    """Write a random key to `VAR_DIR/secret_keys`, readable by the owner only, unless keys are
    there."""
    path = site.var_dir / "secret_keys"
    if site.secret_keys or path.exists():
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
