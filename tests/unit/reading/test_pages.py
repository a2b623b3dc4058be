"""How long a page may be, said once and promised in the IDL."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from gateway.resources.articles import FEED_PARAMETERS
from tidings.client import TidingsClient
from tidings.reading.pages import LONGEST_PAGE, PAGE_SIZE
from tidings_idl.recommend.ttypes import UserRequest

IDL = Path(__file__).parent.parent.parent.parent / "idl" / "recommend.thrift"


def test_the_idl_promises_the_same() -> None:
    promised = re.search(r"How many articles: 1 to (\d+)\. Absent means (\d+)\.", IDL.read_text())

    assert promised
    assert promised.groups() == (str(LONGEST_PAGE), str(PAGE_SIZE))
    assert UserRequest().article_num == PAGE_SIZE


def test_http_and_the_python_client_offer_the_same() -> None:
    (parameter,) = [one for one in FEED_PARAMETERS if one.name == "article_num"]
    client = inspect.signature(TidingsClient.feed).parameters["article_num"]

    assert (parameter.low, parameter.high, parameter.default) == (1, LONGEST_PAGE, PAGE_SIZE)
    assert client.default == PAGE_SIZE
