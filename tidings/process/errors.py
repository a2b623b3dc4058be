"""What keeps a program from starting, said in one line that an operator can act on.

Everything that checks at start raises these: settings, addresses, certificates, the codec. They
stand apart from the settings, so that a program that has no settings of ours, such as one that
only calls the recommender, can raise and catch them too. Rejected: an exception of each module's
own; `start` would have to know them all.

    with naming("GATEWAY_BIND"):
        listener = listen(settings.gateway.bind)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

PREFIX = "TIDINGS_"
EXIT_CANNOT_START = 2


class CannotStartError(Exception):
    """This process cannot do its work. The message is one line that says what to change."""


class SettingsError(CannotStartError):
    """A setting is missing, misspelt or cannot be used. The message names the key and says what
    would do."""


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Put the setting before what is wrong with it.

    Args:
        key: its name without prefix.

    Raises:
        SettingsError: what the block raised, with the name.
    """
    try:
        yield
    except SettingsError as ex:
        raise SettingsError(f"{PREFIX}{key}: {ex}") from None
