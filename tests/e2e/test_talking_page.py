"""Readers talk in the page: real browsers, two nodes of the chat, and a cable between them that can
be pulled out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.browser import Browser, Page, open_browser
from tests.lab.chat import ChatNode, start_chat_node
from tests.lab.relay import Relay, start_relay
from tests.lab.servers import free_port, start_redis, wait_until
from tests.lab.sites import PATIENT, Site, start_site

# Has a browser talk to the other node: the gateway knows one.
ELSEWHERE = """
const real = window.fetch;
window.fetch = async (path, options) => {
  const answer = await real(path, options);
  if (!String(path).endsWith("/reader/chat-ticket")) return answer;
  const offer = await answer.json();
  return Response.json({ ...offer, url: "URL", rest: "REST" });
};
"""
FIVE_SOCKETS = """
(async () => {
  window.others = [];
  for (let number = 0; number < 5; number++) {
    const { ticket, url } = await (await fetch("/reader/chat-ticket", { method: "POST" })).json();
    const socket = new WebSocket(url);
    others.push(socket);
    await new Promise((resolve) => { socket.onopen = resolve; });
    const welcome = new Promise((resolve) => { socket.onmessage = resolve; });
    socket.send(JSON.stringify({ type: "hello", ticket }));
    await welcome;
  }
})()
"""
NO_SOCKETS = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose({ code: 1006 })); }
  close() {}
};
"""
BADGE = "document.querySelector('#talk-count')"
WORDS = ".log .message .said-words"


@dataclass(frozen=True)
class Talk:
    """A site with two nodes of the chat; the first is reached over `cable`."""

    site: Site
    cable: Relay
    other: ChatNode


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    folder = tmp_path_factory.mktemp("talk")
    port = free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(start_redis())
        cable = stack.enter_context(start_relay(port))
        site = stack.enter_context(
            start_site(
                folder,
                redis_url=redis.url,
                chat_bind=f"127.0.0.1:{port}",
                chat_url=f"http://127.0.0.1:{cable.port}",
                order_timeout_s=5,
                payment_provider="sandbox",
                **PATIENT,
            )
        )
        site.wait_until_ready()
        other = stack.enter_context(
            start_chat_node({**site.environment, "TIDINGS_CHAT_URL": ""}, folder)
        )
        yield Talk(site, cable, other)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@contextmanager
def visit(
    browser: Browser, talk: Talk, *, node: ChatNode | None = None, script: str = "", **options: Any
) -> Iterator[Page]:
    """The page of a new reader, whose chat is open."""
    with browser.page(**options) as page:
        if node is not None:
            page.command("Page.setBypassCSP", enabled=True)
            script += ELSEWHERE.replace("URL", node.url).replace("REST", node.http)
        page.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        open_messages(page, talk.site)
        yield page
        assert page.exceptions() == []


def open_messages(page: Page, site: Site, path: str = "/#/messages") -> None:
    page.go("about:blank")
    page.go(site.url + path)
    page.wait_for("!!document.querySelector('#talk-title')", "the messages")
    if path.endswith("messages"):
        page.wait_for("document.querySelector('.conversations .hint')?.innerText", "the list")


def number(page: Page) -> str:
    """The number that others reach this reader by."""
    found: str = page.wait_for(
        "document.querySelector('.begin .hint')?.textContent.match(/\\d+/)?.[0]", "the number"
    )
    return found


def begin(page: Page, *numbers: str) -> None:
    """Begin a conversation with readers of these numbers."""
    page.click(".talk summary")
    page.run(f"document.querySelector('#talk-to').value = '{', '.join(numbers)}'")
    page.click(".begin button[type=submit]")
    page.wait_for(
        "!!document.querySelector('#talk-text') && !document.querySelector('#talk').hidden"
    )


def write(page: Page, words: str) -> None:
    page.run("document.querySelector('#talk-text').focus()")
    page.command("Input.insertText", text=words)
    for kind in ("keyDown", "keyUp"):
        page.command("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r")


def wait_for_words(page: Page, *expected: str) -> None:
    """Until these and no others stand in the conversation, stored."""
    said = f"[...document.querySelectorAll('{WORDS}')].map((each) => each.textContent).join('|')"
    page.wait_for(
        f"{said} === {'|'.join(expected)!r} && !document.querySelector('.waiting')",
        f"{expected}",
    )


def open_newest(page: Page) -> None:
    """The conversation that was written in last."""
    page.wait_for("!!document.querySelector('.conversations a')", "a conversation in the list")
    page.click(".conversations a")
    page.wait_for("!!document.querySelector('.log')", "the conversation")


def open_acts(page: Page) -> None:
    """What can be done with the first message."""
    page.click(".message-acts summary")
    page.wait_for("!!document.querySelector('.message-acts button')", "what can be done")


@pytest.mark.parametrize("away_s", [3, pytest.param(60, marks=pytest.mark.long)])
def test_two_readers_talk_through_two_nodes_and_one_who_was_offline_misses_nothing(
    browser: Browser, talk: Talk, away_s: int
) -> None:
    """What was written meanwhile on either side is there afterwards: once, in order, also after a
    reload in between."""
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "Good morning")
        wait_for_words(one, "Good morning")
        other.wait_for(f"!{BADGE}.hidden && {BADGE}.textContent.startsWith('1')", "one unread")
        open_newest(other)
        wait_for_words(other, "Good morning")
        other.wait_for(f"{BADGE}.hidden", "all read")

        talk.cable.pull()
        for words in ("Are you there?", "Hello?"):
            write(other, words)
        wait_for_words(other, "Good morning", "Are you there?", "Hello?")
        write(one, "I am in a tunnel")
        one.wait_for("!!document.querySelector('.waiting')", "a message on its way")
        for _ in range(away_s):
            one.run("new Promise((done) => setTimeout(done, 1000))")
        assert one.texts(WORDS) == ["Good morning", "I am in a tunnel"]
        talk.cable.mend()

        everything = ("Good morning", "Are you there?", "Hello?", "I am in a tunnel")
        wait_for_words(one, *everything)
        wait_for_words(other, *everything)


def test_a_conversation_is_opened_though_a_message_comes_while_it_is_clicked(
    browser: Browser, talk: Talk
) -> None:
    """The list shows the message, and the link that is held down is still that link."""
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "one")
        said = "document.querySelector('.conversations .said')?.textContent"
        other.wait_for(f"{said}?.endsWith('one')", "the first message in the list")
        other.run("document.querySelector('.conversations a').focus()")

        def hear_more() -> None:
            write(one, "two")
            other.wait_for(f"{said}.endsWith('two')", "the second message in the list")
            assert other.run("document.activeElement.matches('.conversations a')")

        other.click(".conversations a", meanwhile=hear_more)

        wait_for_words(other, "one", "two")


def test_what_was_written_offline_outlives_a_reload(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "one")
        wait_for_words(one, "one")
        talk.cable.pull()
        for words in ("two", "three"):
            write(one, words)
        one.wait_for("document.querySelectorAll('.waiting').length === 2", "two on their way")
        address = one.run("location.href")
        one.go("about:blank")
        talk.cable.mend()
        one.go(address)

        wait_for_words(one, "one", "two", "three")
        open_newest(other)
        wait_for_words(other, "one", "two", "three")


def test_seven_tabs_use_one_socket_and_all_hear(browser: Browser, talk: Talk) -> None:
    """Also after the tab that had it is closed."""
    sockets = "tidings_chat_sockets"
    before = 0  # of the node that these tests share; each leaves none behind
    wait_until(lambda: talk.other.count(sockets) == before, 30, "no socket")
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "Good morning")
        open_newest(other)
        address = other.run("location.href")
        tabs = []
        for _ in range(6):
            tab = other.open_tab()
            tab.command("Page.setBypassCSP", enabled=True)
            elsewhere = ELSEWHERE.replace("URL", talk.other.url).replace("REST", talk.other.http)
            tab.command("Page.addScriptToEvaluateOnNewDocument", source=elsewhere)
            tab.go(address)
            tabs.append(tab)
        for tab in tabs:
            wait_for_words(tab, "Good morning")
        wait_until(lambda: talk.other.count(sockets) == before + 1, 30, "one socket more")

        write(one, "How many are you?")
        for tab in (other, *tabs):
            wait_for_words(tab, "Good morning", "How many are you?")
        write(tabs[3], "Seven")
        other.go("about:blank")
        for page in (one, *tabs):
            wait_for_words(page, "Good morning", "How many are you?", "Seven")
        write(one, "And now?")
        for page in tabs:
            wait_for_words(page, "Good morning", "How many are you?", "Seven", "And now?")
        wait_until(lambda: talk.other.count(sockets) == before + 1, 30, "one socket more")


def test_a_text_that_is_too_long_stays_and_is_said_to_be(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as one, visit(browser, talk) as other:
        begin(one, number(other))
        hint = "document.querySelector('#talk-hint').textContent"
        write(one, "x" * 17_384)
        one.wait_for(f"{hint}.includes('too long for one message, by about 1,000 characters')")
        one.run("document.querySelector('#talk-text').setSelectionRange(16384, 17384)")
        one.run("document.execCommand('delete')")
        write(one, "")
        one.wait_for(f"!{hint}.includes('too long')", "the usual hint")
        wait_for_words(one, "x" * 16_384)


def test_a_reader_is_told_live_that_an_order_expired(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as page:
        page.command("Emulation.setTimezoneOverride", timezoneId="Asia/Shanghai")
        hour = page.run(  # at which one of the first product is cancelled, where this reader lives
            """fetch("/products").then((answer) => answer.json()).then(({ results }) =>
              fetch("/orders", {
                method: "POST",
                headers: { "Content-Type": "application/json", "Idempotency-Key": "an-order" },
                body: JSON.stringify({
                  lines: [{ product_id: results[0].product_id, quantity: 1 }],
                }),
              })).then((answer) => answer.json()).then(({ expires_at }) =>
                new Date(expires_at).toLocaleTimeString([], { timeStyle: "short" }))"""
        )
        page.wait_for(
            "document.querySelector('#talk-news').textContent.includes('was cancelled')",
            "that it was cancelled",
        )
        page.wait_for(f"!{BADGE}.hidden", "the badge")
        page.wait_for("document.querySelector('.notices').textContent.includes('was cancelled')")
        told = page.run("document.querySelector('.notices').innerText")
        assert f"is cancelled at {hour}." in told
        page.click(".notices-all")
        page.wait_for(f"{BADGE}.hidden", "all read")


def test_the_desk_answers_with_articles_that_can_be_opened(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as page:
        page.click(".desk-entry button")
        page.wait_for("!!document.querySelector('#talk-text')", "the conversation")
        write(page, "what is new")
        page.wait_for("!!document.querySelector('.log a')", "an answer with articles")
        page.click(".log a")
        page.wait_for("!document.querySelector('#article').hidden", "the article")


def test_a_message_is_changed_and_deleted_for_both(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "Good mornnig")
        wait_for_words(one, "Good mornnig")
        open_newest(other)
        open_acts(one)
        one.click(".message-acts button")
        one.run("document.querySelector('#talk-text').select()")
        write(one, "Good morning")
        for page in (one, other):
            wait_for_words(page, "Good morning")
        open_acts(one)
        one.click(".message-acts button:last-child")
        for page in (one, other):
            wait_for_words(page, "This message was deleted.")


def test_a_reader_who_was_blocked_is_told_that_nothing_was_sent(
    browser: Browser, talk: Talk
) -> None:
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "Buy my book")
        open_newest(other)
        wait_for_words(other, "Buy my book")
        other.click(".conversation > details summary")
        other.wait_for("document.querySelector('.blocking')?.textContent.startsWith('Block')")
        other.click(".blocking")
        other.wait_for("document.querySelector('.blocking').textContent.startsWith('Unblock')")
        write(one, "Please")
        one.wait_for("!!document.querySelector('.refused')", "the refusal")
        assert one.texts(".refused") == ["Not sent: one of you blocks the other."]
        one.click(".waiting button:last-child")
        wait_for_words(one, "Buy my book")


def test_where_no_socket_gets_through_readers_talk_all_the_same(
    browser: Browser, talk: Talk
) -> None:
    with visit(browser, talk, script=NO_SOCKETS) as one, visit(browser, talk) as other:
        begin(one, number(other))
        write(one, "Can you hear me?")
        wait_for_words(one, "Can you hear me?")
        open_newest(other)
        write(other, "Loud and clear")
        wait_for_words(one, "Can you hear me?", "Loud and clear")


def test_a_reader_with_too_many_sockets_is_told_and_can_come_back(
    browser: Browser, talk: Talk
) -> None:
    with visit(browser, talk) as one, visit(browser, talk) as other:
        begin(one, number(other))
        one.run(FIVE_SOCKETS)
        one.wait_for(
            "document.querySelector('.conversation .line-state').textContent"
            ".includes('too many places')"
        )
        again = "[...document.querySelectorAll('.conversation > button')].at(-1)"
        assert one.run(f"{again}.textContent") == "Connect again"
        one.run(f"others.forEach((socket) => socket.close()); {again}.click()")
        one.wait_for(f"{again}.hidden", "a connection")
        write(one, "Here I am")
        wait_for_words(one, "Here I am")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_messages_can_be_read_and_written_without_a_mouse(
    browser: Browser, talk: Talk, tmp_path: Path, width: int, dark: bool
) -> None:
    """A name for every control, 44 px for every finger, nothing wider than the window, new messages
    read out politely."""
    with (
        visit(browser, talk, width=width, dark=dark) as page,
        visit(browser, talk, node=talk.other) as other,
    ):
        begin(page, number(other))
        write(page, "a word " * 40)
        page.wait_for(f"!!document.querySelector('{WORDS}')", "the message")
        for path in ("", "#/messages"):
            if path:
                page.run(f"location.hash = '{path}'")
                page.wait_for("!!document.querySelector('.conversations a')", "the list")
            small = page.run(
                "[...document.querySelectorAll('#talk button, #talk summary, #talk input,"
                " #talk textarea, .conversations a, .back')]"
                ".filter((each) => each.checkVisibility()"
                " && each.getBoundingClientRect().height < 44).map((each) => each.outerHTML)"
            )
            nameless = page.run(
                "[...document.querySelectorAll('#talk a, #talk button, #talk summary')]"
                ".filter((each) => each.checkVisibility()"
                " && !(each.textContent.trim() || each.ariaLabel)).length"
                " + [...document.querySelectorAll('#talk input, #talk textarea')]"
                ".filter((each) => !each.labels.length).length"
            )
            wide = page.run("document.documentElement.scrollWidth > window.innerWidth")
            assert (small, nameless, wide) == ([], 0, False)
        open_newest(page)
        page.wait_for("document.querySelector('.log').ariaLive === 'polite'", "a polite log")


def test_a_node_that_is_killed_costs_no_message(browser: Browser, talk: Talk) -> None:
    with visit(browser, talk) as one, visit(browser, talk, node=talk.other) as other:
        begin(one, number(other))
        write(one, "one")
        wait_for_words(one, "one")
        open_newest(other)
        wait_for_words(other, "one")

        talk.other.kill()
        write(one, "two")
        write(other, "three")
        wait_for_words(one, "one", "two")
        talk.other.start()

        for page in (one, other):
            wait_for_words(page, "one", "two", "three")
