"""How a reader came: what the rule makes of the headers that browsers really send."""

from __future__ import annotations

import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.feed.visit import read_context
from tidings.reading.contexts import Context, Device, Referrer

CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 {}Safari/537.36"
ANDROID = "Linux; Android 10; K"


def context(**headers: str) -> Context:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_context(testing.create_req(host="news.example", headers=given))


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148", Device.MOBILE),
        ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) Mobile/15E148", Device.TABLET),
        (CHROME.format(ANDROID, "Mobile "), Device.MOBILE),
        (CHROME.format(ANDROID, ""), Device.TABLET),
        (CHROME.format("Windows NT 10.0; Win64; x64", ""), Device.DESKTOP),
        (CHROME.format("X11; CrOS x86_64 14541.0.0", ""), Device.DESKTOP),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Firefox/127.0", Device.DESKTOP),
        ("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", Device.MOBILE),
        ("Mozilla/5.0 (Linux; Android 9; KFMAWI) Silk/126.2 like Chrome Safari", Device.TABLET),
        ("curl/8.5.0", Device.OTHER),
        ("", Device.UNKNOWN),
    ],
)
def test_the_user_agent_names_the_device(agent: str, device: Device) -> None:
    assert context(User_Agent=agent).device is device


@pytest.mark.parametrize("host", [":", "news.example:x", "[::1", "a:b:c"])
def test_a_host_that_is_none_is_no_error(host: str) -> None:
    headers = {"Host": host, "Referer": "https://elsewhere.example/"}
    assert read_context(testing.create_req(headers=headers)).referrer is Referrer.OTHER


@pytest.mark.parametrize(
    ("hints", "device"),
    [
        ({"Sec_CH_UA_Mobile": "?1"}, Device.MOBILE),
        ({"Sec_CH_UA_Mobile": "?0", "Sec_CH_UA_Platform": '"Android"'}, Device.TABLET),
        ({"Sec_CH_UA_Mobile": "?0", "Sec_CH_UA_Platform": '"Windows"'}, Device.DESKTOP),
        ({"Sec_CH_UA_Form_Factors": '"Tablet"', "Sec_CH_UA_Mobile": "?1"}, Device.TABLET),
        ({"Sec_CH_UA_Form_Factors": '"Desktop", "XR"'}, Device.DESKTOP),
    ],
)
def test_client_hints_win_over_the_user_agent(hints: dict[str, str], device: Device) -> None:
    agent = CHROME.format("X11; Linux x86_64", "")

    assert context(User_Agent=agent, **hints).device is device


@pytest.mark.parametrize(
    ("headers", "referrer"),
    [
        ({"Referer": "https://www.google.co.uk/"}, Referrer.SEARCH),
        ({"Referer": "https://duckduckgo.com/?q=news"}, Referrer.SEARCH),
        ({"Referer": "https://search.brave.com/"}, Referrer.SEARCH),
        ({"Referer": "https://l.facebook.com/l.php"}, Referrer.SOCIAL),
        ({"Referer": "https://t.co/abc"}, Referrer.SOCIAL),
        ({"Referer": "https://old.reddit.com/r/news"}, Referrer.SOCIAL),
        ({"Referer": "http://NEWS.example:8000/channels/3"}, Referrer.INTERNAL),
        ({"Referer": "https://somewhere.example/"}, Referrer.OTHER),
        ({"Referer": "android-app://com.google.android.gm"}, Referrer.OTHER),
        ({"Referer": "http://[half"}, Referrer.OTHER),
        ({"Referer": "nonsense"}, Referrer.OTHER),
        ({"Sec_Fetch_Site": "none"}, Referrer.NONE),
        ({"Sec_Fetch_Site": "cross-site"}, Referrer.UNKNOWN),
        ({}, Referrer.UNKNOWN),
    ],
)
def test_the_referer_names_what_led_here(headers: dict[str, str], referrer: Referrer) -> None:
    assert context(**headers).referrer is referrer


@given(st.text(st.characters(codec="latin-1"), max_size=2000), st.text(max_size=300))
def test_no_header_of_any_kind_is_an_error(agent: str, referer: str) -> None:
    found = context(User_Agent=agent, Referer=referer.encode().decode("latin-1"))

    assert found.device in Device
    assert found.referrer in Referrer
