"""Which pages may act in a reader's name.

A browser sends the reader's cookie along with what a page of another site makes it send, so a write
needs a sign that a page of this site asked for it: `Sec-Fetch-Site: same-origin`, or an `Origin`
that is this site's own or on the list of the operator. Without both headers the caller is no
browser. A page of another site cannot send `X-Reader` or a key without being allowed to, so who
brings one is no caller by cookie. A browser's write without any of them is held to the rule as
well: its answer would put a new reader's cookie in the place of the one that SameSite kept at home.
Rejected: a token in each form, which a page of plain files cannot be given.

    app.add_middleware(RefuseForeignWrites(Origins("https://news.example"), signer))
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import falcon

from tidings.http.errors import ForeignWriteError
from tidings.http.reader_id import HEADER, ReaderSigner
from tidings.process.listening import UNIX, split_bind
from tidings.process.settings import Settings

# What pages of a listed origin may read of an answer besides its body.
EXPOSED = (
    *("X-Request-Id", "X-Reader", "RateLimit", "RateLimit-Policy", "Retry-After"),
    *("ETag", "Location"),
)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WRITE_NOTHING = ("GET", "HEAD", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class Origins:
    """Whose pages may do what.

    Attributes:
        site_url: where readers find the site; its origin is the site's own, and so is the one that
            a request names as its host.
        allowed: other origins whose pages may read answers, and write with the reader's cookie.
    """

    site_url: str
    allowed: tuple[str, ...] = ()

    def admit(self, origin: str, own: str) -> bool:
        """Whether a page of this origin may write on the site that was reached as `own`."""
        return origin in (own, _origin_of(self.site_url), *self.allowed)


def find_chat_origins(settings: Settings) -> tuple[str, ...]:
    """Whose pages may use the chat: those of the site, as readers find it and, where there is no
    proxy, as the gateway listens; and those of the origins that an operator listed."""
    found = {_origin_of(settings.site.url): None}
    bind = settings.gateway.bind
    if not bind.startswith(UNIX):
        host, port = split_bind(bind)
        # A page is found by either name, and a browser tells the one that was typed.
        names = (host, "localhost") if host in _LOOPBACK else (host,)
        found |= {f"http://{f'[{name}]' if ':' in name else name}:{port}": None for name in names}
    return (*found, *settings.gateway.allowed_origins, *settings.chat.allowed_origins)


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class RefuseForeignWrites:
    """Falcon middleware: 403 for what another site's page makes a browser write.

    Args:
        signer: tells a reader's id from what is none.
    """

    def __init__(self, origins: Origins, signer: ReaderSigner) -> None:
        self._origins = origins
        self._signer = signer

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        if req.method in _WRITE_NOTHING:
            return
        site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
        if site == "same-origin" or (site is None and origin is None) or self._brings_its_own(req):
            return
        if origin is None or not self._origins.admit(origin, f"{req.scheme}://{req.netloc}"):
            raise ForeignWriteError(
                "a page of another site asked for it: neither Sec-Fetch-Site says same-origin, "
                "nor is its Origin one that may write here"
            )

    def _brings_its_own(self, req: falcon.Request) -> bool:
        """Whether the caller says who it is by a header that no page sends without being allowed
        to; one that says nothing would leave the cookie to speak."""
        if (req.get_header("Authorization") or "").lower().startswith("bearer "):
            return True
        return self._signer.read(req.get_header(HEADER) or "") is not None
