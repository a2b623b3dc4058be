"""`docs/first-site.md`, followed in order by a newcomer who looks at the site in a browser."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.test_stories import ROOT, lay_out, make_script, read_story
from tests.lab.browser import Page, open_browser
from tests.lab.servers import RedisServer, free_port, wait_until
from tests.lab.sites import PATIENT, start_site
from tests.lab.web import serve_web

PAGE = ROOT / "docs" / "first-site.md"
TYPING_TIMEOUT_S = 480
PAGES_TIMEOUT_S = 120
OWN = "High tide at noon"
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Boats</title><id>urn:boats</id>
<entry><id>urn:boats:1</id><title>Two masts and a stove</title>
<updated>2026-01-01T00:00:00Z</updated>
<link href="https://boats.example/1"/><content type="html">&lt;p&gt;A ketch.&lt;/p&gt;</content>
</entry></feed>"""
RSS = """<rss version="2.0"><channel><title>{channel}</title><link>https://{channel}.example/</link>
<item><guid>1</guid><title>{title}</title><description>Seen from the pier.</description></item>
</channel></rss>"""
FEEDS = {
    "tides.rss": RSS.format(channel="tides", title="Springs and neaps"),
    "boats.atom": ATOM,
    "birds.rss": RSS.format(channel="birds", title="A tern in a hurry"),
}


def type_in(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What a shell in that folder prints, once all was typed and succeeded."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TYPING_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def titles(page: Page, address: str) -> list[str]:
    page.go(address)
    page.wait_for("document.readyState === 'complete'")
    return page.texts("h1, h2, h3")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_newcomer_who_follows_the_page_has_a_site(
    tmp_path: Path, redis_server: RedisServer, redis_url: str
) -> None:
    """Named, without the example, with three feeds and an article of one's own, which is gone again
    after its take-down."""
    lay_out(tmp_path)
    naming, *filling, taking_down = read_story(PAGE.read_text())
    bind = f"127.0.0.1:{free_port()}"
    # Before the site is started, as the page has it started again.
    named = {"PATH": "/usr/bin:/bin", "TIDINGS_VAR_DIR": str(tmp_path / "var")}
    assert "The Harbour Courier" in type_in(make_script([naming]), tmp_path, named)
    with (
        serve_web() as web,
        start_site(
            tmp_path,
            redis_url=redis_url,
            gateway_bind=bind,
            site_url=f"http://{bind}",
            fetch_private_addresses=True,
            **PATIENT,
        ) as site,
        open_browser() as browser,
        browser.page() as page,
    ):
        for name, text in FEEDS.items():
            web.serve(f"/{name}", text, "text/xml")
        site.wait_until_ready()
        environment = {**site.environment, "FEEDS": web.url("")}
        filled = make_script(filling).replace("127.0.0.1:8000", bind)
        type_in(filled, tmp_path, environment)
        reader = site.reader()
        expected = {OWN, "Springs and neaps", "Two masts and a stove", "A tern in a hurry"}

        def shown() -> dict[str, int]:
            cards = reader.get("/articles?channel_id=0&article_num=50").json["results"]
            return {card["title"]: card["article_id"] for card in cards}

        wait_until(lambda: expected <= {*shown()}, PAGES_TIMEOUT_S, "the articles of all feeds")
        assert {*shown()} == expected
        files = site.settings.site.var_dir / "site" / "articles"
        # The example's pages went with the example, though they were the whole site.
        wait_until(
            lambda: len(list(files.glob("*.html"))) == len(expected), PAGES_TIMEOUT_S, "its pages"
        )
        own = shown()[OWN]
        address = f"{site.url}/articles/{own}"
        wait_until(lambda: OWN in titles(page, address), PAGES_TIMEOUT_S, "the article's page")
        assert "The Harbour Courier" in page.run("document.title")
        assert page.run("document.documentElement.lang") == "en-GB"

        type_in(make_script([taking_down]), tmp_path, environment)

        assert reader.get(f"/articles/{own}").status == 404
        wait_until(lambda: OWN not in titles(page, address), PAGES_TIMEOUT_S, "the page to go")
