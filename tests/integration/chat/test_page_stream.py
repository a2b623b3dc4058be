"""The page's own connection, run by node, on a stream of events of a real node of the chat."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

from services.chat.sessions import MOST_OF_READER
from tests.lab.chat import ANSWER_TIMEOUT_S, SECRET_KEY, ChatNode
from tests.lab.servers import find_program
from tidings.http.reader_id import HEADER, ReaderSigner

SCRIPT = Path(__file__).parent / "page_stream.mjs"


def test_a_page_whose_stream_was_replaced_does_not_come_back(
    node: ChatNode, new_reader: Callable[[], int]
) -> None:
    """It would close the stream of a sibling, which would do the same, for ever."""
    signed = ReaderSigner([SECRET_KEY.encode()]).sign(new_reader())
    command = [find_program("node"), str(SCRIPT), node.http, signed]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page,
        ExitStack() as siblings,
    ):
        siblings.callback(page.kill)
        assert page.stdout is not None
        while page.stdout.readline() != "open\n":
            assert page.poll() is None, "it has ended"
        for _ in range(MOST_OF_READER):
            request = Request(f"{node.http}/events", headers={HEADER: signed})
            siblings.enter_context(urlopen(request, timeout=ANSWER_TIMEOUT_S))
        after = page.stdout.readline()

    assert after == "stopped 4409\n"
