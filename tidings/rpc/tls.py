"""TLS between processes, with a certificate on both sides; and no plain text past this machine
unless somebody said so.

Each process has its own certificate and trusts one authority of the operator's own: whoever that
signed may call, and may answer. The public authorities are not asked, since they vouch for the
whole internet. Rejected: certificates on the server's side only, which say nothing about who calls.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidings.process.settings import PREFIX, Settings, SettingsError, split_bind
from tidings.rpc.address import UNIX

_REMEDY = (
    f"set {PREFIX}RECOMMENDER_TLS_CERT, _KEY and _CA, or {PREFIX}RECOMMENDER_ALLOW_PLAINTEXT=true"
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files.

    Attributes:
        cert: this process's certificate, with those between it and the authority.
        key: its private key, not encrypted.
        ca: the authority that must have signed the other side's.
        name: as a client, what the server's certificate must be for; empty: whatever the authority
            signed will do.
    """

    cert: Path
    key: Path
    ca: Path
    name: str = ""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """What a client needs to open a connection. Safe for threads."""

    context: ssl.SSLContext
    name: str

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """Shake hands within the socket's time-out, which is for the whole of it.

        Raises:
            OSError: the server is not one to trust, does not trust this side, or does not answer.
        """
        return self.context.wrap_socket(sock, server_hostname=self.name or None)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Raises:
    SettingsError: a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = ssl.CERT_REQUIRED
    # A ticket would come unasked on an idle connection, where a byte that nobody asked for means
    # trouble.
    context.num_tickets = 0
    return context


def client_tls(files: TlsFiles) -> ClientTls:
    """Raises:
    SettingsError: a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = bool(files.name)
    context.verify_mode = ssl.CERT_REQUIRED
    return ClientTls(context, files.name)


def _context(side: int, files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(files.ca)
    except OSError as ex:
        raise SettingsError(
            f"cannot use {files.ca} as the authority's certificate: {_reason(ex)}"
        ) from None
    try:
        context.load_cert_chain(files.cert, files.key, password=_refuse_password)
    except (OSError, ValueError) as ex:
        raise SettingsError(
            f"cannot use {files.cert} with the key {files.key}: {_reason(ex)}"
        ) from None
    return context


def _refuse_password() -> str:
    raise ValueError(
        "the key is encrypted"
    )  # or the process would stop and ask whoever is at the terminal


def _reason(ex: Exception) -> str:
    return getattr(ex, "reason", None) or getattr(ex, "strerror", None) or str(ex)


# By the settings of a process.


def tls_files(settings: Settings) -> TlsFiles | None:
    """The files that the settings name; None if they name none.

    Raises:
        SettingsError: they name some and not others.
    """
    cert, key, ca = (
        settings.recommender_tls_cert,
        settings.recommender_tls_key,
        settings.recommender_tls_ca,
    )
    if cert is None and key is None and ca is None:
        return None
    if cert is None or key is None or ca is None:
        missing = [
            name for name, path in (("CERT", cert), ("KEY", key), ("CA", ca)) if path is None
        ]
        raise SettingsError(
            f"{PREFIX}RECOMMENDER_TLS_{missing[0]}: not set; certificate, key and CA go together"
        )
    return TlsFiles(cert, key, ca, settings.recommender_tls_name)


def make_server_context(settings: Settings) -> ssl.SSLContext | None:
    """For `recommender_bind`; None for plain text.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    files = tls_files(settings)
    if files is None:
        if not settings.recommender_allow_plaintext:
            with _naming("BIND"):
                refuse_plaintext([settings.recommender_bind], _REMEDY)
        return None
    with _naming("TLS_CERT, _KEY and _CA"):
        return server_context(files)


def make_client_tls(settings: Settings) -> ClientTls | None:
    """For `recommender_endpoints`; None for plain text.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    files = tls_files(settings)
    if files is None:
        if not settings.recommender_allow_plaintext:
            with _naming("ENDPOINTS"):
                refuse_plaintext(settings.recommender_endpoints, _REMEDY)
        return None
    with _naming("TLS_CERT, _KEY and _CA"):
        return client_tls(files)


def refuse_plaintext(
    endpoints: Iterable[str], remedy: str = "give TLS files, or allow plain text"
) -> None:
    """Raises:
    SettingsError: one of `endpoints` is on the network. `remedy` says what to do.
    """
    for endpoint in endpoints:
        if not stays_on_this_machine(endpoint):
            raise SettingsError(
                f"{endpoint} would be spoken to in plain text over the network; {remedy}"
            )


def stays_on_this_machine(endpoint: str) -> bool:
    """True for `unix:/path` and for loopback addresses; a host name may mean anything, except for
    `localhost`."""
    if endpoint.startswith(UNIX):
        return True
    try:
        host, _ = split_bind(endpoint)
    except ValueError:
        return True  # whoever opens it says what is wrong with it
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    try:
        yield
    except SettingsError as ex:
        raise SettingsError(f"{PREFIX}RECOMMENDER_{setting}: {ex}") from None
