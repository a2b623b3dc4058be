"""TLS between processes, with a certificate on both sides; and no plain text past this machine
unless an operator said so.

Each process has its own certificate and trusts one authority of the operator's own: every program
that this authority signed as a client may call, and as a server may answer. The public authorities
are not asked, since they vouch for the whole internet. Rejected: certificates on the server's side
only, which say nothing about who calls.

    options = TlsOptions(cert=Path("c.pem"), key=Path("k.pem"), ca=Path("ca.pem"))
    server = make_server(service, handler, bind, tls=make_server_context(options, bind))
    policy = Policy(tls=make_client_tls(options, endpoints))
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidings.process.errors import SettingsError
from tidings.process.listening import UNIX, split_bind

# In DER, each with its type and length: the names 2.5.29.37 and 1.3.6.1.5.5.7.3.1, and TRUE.
_EXTENDED_KEY_USAGE = b"\x06\x03\x55\x1d\x25"
_SERVER_AUTH = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01"
_CRITICAL = b"\x01\x01\xff"
_STRING = b"\x04"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files.

    Attributes:
        cert: this process's certificate, with those between it and the authority.
        key: its private key, not encrypted.
        ca: the authority that must have signed the other side's.
        name: as a client, what the server's certificate must be for; empty: any that the authority
            signed for servers will do, and has to say so.
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
        wrapped = self.context.wrap_socket(sock, server_hostname=self.name or None)
        # NOTE: OpenSSL takes a certificate that names no purpose for one of every purpose. Then any
        # client of the authority's could answer as the server, where no name is asked for.
        if not self.name and not _is_for_servers(wrapped.getpeercert(binary_form=True) or b""):
            wrapped.close()
            raise ssl.SSLCertVerificationError(
                "the peer's certificate is not said to be a server's (extendedKeyUsage=serverAuth),"
                " and no name of the server's is set"
            )
        return wrapped


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Raises:
    SettingsError: a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = ssl.CERT_REQUIRED
    # A ticket would come unasked on an idle connection, where a byte that was not asked for means
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


def _is_for_servers(certificate: bytes) -> bool:
    """True if the extension "extended key usage" of a certificate in DER names servers."""
    _, is_there, rest = certificate.partition(_EXTENDED_KEY_USAGE)
    if not is_there:
        return False
    # What follows the extension's name: "critical" perhaps, then a string of `length` bytes.
    rest = rest.removeprefix(_CRITICAL)
    return rest[:1] == _STRING and _SERVER_AUTH in rest[2 : 2 + rest[1]]


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
    # Or the process would stop and ask at the terminal.
    raise ValueError("the key is encrypted")


def _reason(ex: Exception) -> str:
    return getattr(ex, "reason", None) or getattr(ex, "strerror", None) or str(ex)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What one service's operator chose, for its server and for its clients alike.

    Attributes:
        cert: as in `TlsFiles`; the three files go together, and without them it is plain text.
        key: as in `TlsFiles`.
        ca: as in `TlsFiles`.
        name: as in `TlsFiles`.
        allow_plaintext: without files, speak past this machine all the same.
        prefix: how the settings of these are called before their own names, for messages.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    name: str = ""
    allow_plaintext: bool = False
    prefix: str = ""

    def files(self) -> TlsFiles | None:
        """The files, if there are some.

        Raises:
            SettingsError: there are some and not others.
        """
        given = {"CERT": self.cert, "KEY": self.key, "CA": self.ca}
        missing = [name for name, path in given.items() if path is None]
        if len(missing) == len(given):
            return None
        if self.cert is None or self.key is None or self.ca is None:
            raise SettingsError(
                f"{self.prefix}TLS_{missing[0]}: not set; certificate, key and CA go together"
            )
        return TlsFiles(self.cert, self.key, self.ca, self.name)


def make_server_context(options: TlsOptions, bind: str) -> ssl.SSLContext | None:
    """For a server on `bind`; None for plain text.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    files = options.files()
    if files is None:
        _refuse_plaintext(options, "BIND", [bind])
        return None
    try:
        return server_context(files)
    except SettingsError as ex:
        raise _about_files(options, ex) from None


def make_client_tls(options: TlsOptions, endpoints: Sequence[str]) -> ClientTls | None:
    """For a client of `endpoints`; None for plain text.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    files = options.files()
    if files is None:
        _refuse_plaintext(options, "ENDPOINTS", endpoints)
        return None
    try:
        return client_tls(files)
    except SettingsError as ex:
        raise _about_files(options, ex) from None


def _about_files(options: TlsOptions, ex: SettingsError) -> SettingsError:
    return SettingsError(f"{options.prefix}TLS_CERT, _KEY and _CA: {ex}")


def _refuse_plaintext(options: TlsOptions, setting: str, endpoints: Sequence[str]) -> None:
    if options.allow_plaintext:
        return
    prefix = options.prefix
    remedy = f"set {prefix}TLS_CERT, _KEY and _CA, or {prefix}ALLOW_PLAINTEXT=true"
    try:
        refuse_plaintext(endpoints, remedy)
    except SettingsError as ex:
        raise SettingsError(f"{prefix}{setting}: {ex}") from None


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
        return True  # the code that opens it says what is wrong with it
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
