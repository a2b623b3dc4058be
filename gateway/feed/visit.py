"""How a reader came, read from the headers that browsers send: on which device, and from where.

The rule is short on purpose and errs towards `other`: what counts is that the same visit is always
told the same, since the recommender compares the clicks of one kind of visit with each other.
Client hints win over the User-Agent, in which every browser claims to be every other. Rejected: a
library of user agents, thousands of patterns that age by the month, for four words.

    read_context(req)  # Context(device=Device.MOBILE, referrer=Referrer.SEARCH)
"""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon

from tidings.reading.contexts import Context, Device, Referrer

LONGEST_READ = 512  # of a header; what comes after says nothing more

# A part of a host's name, other than its last one, that says whose it is.
SEARCH = frozenset(
    [
        *("baidu", "bing", "brave", "duckduckgo", "ecosia", "google", "kagi", "naver", "qwant"),
        *("seznam", "startpage", "yahoo", "yandex"),
    ]
)
SOCIAL = frozenset(
    [
        *("bsky", "facebook", "instagram", "linkedin", "lnkd", "mastodon", "pinterest", "reddit"),
        *("threads", "tiktok", "twitter", "vk", "weibo", "whatsapp", "youtube"),
    ]
)
# Hosts whose name alone says it.
SOCIAL_HOSTS = frozenset({"t.co", "t.me", "x.com", "fb.me", "youtu.be"})
# In the order in which they are looked for: a tablet's agent may say `Mobile` as well.
AGENTS = (
    (Device.TABLET, ("ipad", "tablet", "kindle", "silk/")),
    (Device.MOBILE, ("iphone", "ipod", "mobi")),
    (Device.TABLET, ("android",)),
    (Device.DESKTOP, ("windows nt", "macintosh", "x11", "cros ")),
)


def read_context(req: falcon.Request) -> Context:
    """The context of a request; what its headers do not say is unknown."""
    return Context(_device(req), _referrer(req))


def _device(req: falcon.Request) -> Device:
    factors = _header(req, "Sec-CH-UA-Form-Factors")
    for device in (Device.TABLET, Device.MOBILE, Device.DESKTOP):
        if f'"{device.name.lower()}"' in factors:
            return device
    agent = _header(req, "User-Agent")
    is_mobile = _header(req, "Sec-CH-UA-Mobile")
    if is_mobile == "?1":
        return Device.MOBILE
    if is_mobile == "?0":
        of_android = "android" in _header(req, "Sec-CH-UA-Platform") or "android" in agent
        return Device.TABLET if of_android else Device.DESKTOP
    for device, words in AGENTS:
        if any(word in agent for word in words):
            return device
    return Device.OTHER if agent else Device.UNKNOWN


def _referrer(req: falcon.Request) -> Referrer:
    referer = _header(req, "Referer")
    if not referer:
        # A browser says so itself when an address was typed in or kept.
        is_typed = _header(req, "Sec-Fetch-Site") == "none"
        return Referrer.NONE if is_typed else Referrer.UNKNOWN
    try:
        parts = urlsplit(referer)
        host = parts.hostname or ""
        own_host = req.host.lower()  # which may be no host either
    except ValueError:
        return Referrer.OTHER
    if parts.scheme not in ("http", "https"):
        return Referrer.OTHER  # an app
    return Referrer.INTERNAL if host == own_host else _kind_of(host)


def _kind_of(host: str) -> Referrer:
    names = {*host.split(".")[:-1]}
    if names & SEARCH:
        return Referrer.SEARCH
    return Referrer.SOCIAL if host in SOCIAL_HOSTS or names & SOCIAL else Referrer.OTHER


def _header(req: falcon.Request, name: str) -> str:
    return (req.get_header(name) or "")[:LONGEST_READ].lower().strip()
