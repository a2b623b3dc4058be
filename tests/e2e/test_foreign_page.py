"""Pages of other origins in a real browser, which brings the reader's cookie along: Chromium takes
two ports of one host for one site, so SameSite keeps no cookie at home here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.e2e.conftest import StartSite
from tests.lab.browser import Browser, Page, open_browser
from tests.lab.sites import Site

NOT_LET = "not let"


class _BlankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_page() -> Iterator[str]:
    """An origin with one page that says nothing."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _BlankPage) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(60)


@dataclass
class World:
    """A site that lets `partner` in, and a reader's browser that has been there."""

    site: Site
    page: Page
    partner: str
    stranger: str

    def visit(self, origin: str) -> None:
        self.page.go(origin)
        self.page.wait_for(f"location.origin === '{origin}' && document.readyState === 'complete'")

    def ask(self, origin: str, method: str, path: str) -> str:
        """What a script on a page of `origin` reads of the answer, its cookie sent along."""
        self.visit(origin)
        said: str = self.page.run(
            f"""fetch("{self.site.url}{path}", {{method: "{method}", credentials: "include"}})
            .then(async (answer) => `${{answer.status}} ${{await answer.text()}}`)
            .catch(() => "{NOT_LET}")"""
        )
        return said

    def reader(self) -> str:
        return self.ask(self.site.url, "GET", "/reader")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture
def world(browser: Browser, new_site: StartSite) -> Iterator[World]:
    with (
        serve_page() as partner,
        serve_page() as stranger,
        new_site(gateway_allowed_origins=partner) as site,
        browser.page() as page,
    ):
        site.wait_until_ready()
        page.go(site.url)
        page.wait_for("document.querySelectorAll('.card').length >= 10", "ten cards")
        yield World(site, page, partner, stranger)


def test_a_page_of_a_stranger_neither_reads_nor_writes_and_a_partners_does_both(
    world: World,
) -> None:
    reader = world.reader()

    assert reader.startswith("200 ")
    assert world.ask(world.stranger, "GET", "/reader") == NOT_LET
    assert world.ask(world.stranger, "PUT", "/articles/1/liking") == NOT_LET
    assert '"liked":false' in world.ask(world.site.url, "GET", "/articles/1/mine")

    assert world.ask(world.partner, "GET", "/reader") == reader
    assert world.ask(world.partner, "PUT", "/articles/1/liking") == "204 "
    assert '"liked":true' in world.ask(world.site.url, "GET", "/articles/1/mine")


def test_a_form_of_a_stranger_is_refused_and_the_reader_stays_who_it_was(world: World) -> None:
    """Trap: a form needs nobody's leave, and could pay an order; and an answer to one could set
    another reader's cookie."""
    reader = world.reader()

    world.visit(world.stranger)
    world.page.run(
        f"""(() => {{
        document.body.innerHTML = '<form method="post" action="{world.site.url}/orders/1/payment">';
        document.forms[0].submit();
        }})()"""
    )
    world.page.wait_for("document.body.innerText.includes('foreign-write')", "the refusal")

    assert world.reader() == reader
