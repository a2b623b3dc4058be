"""A Chromium without a window, told what to do over its DevTools pipe.

What a page does for its reader can only be seen in a browser. The pipe needs no library: commands
and answers are JSON, each ended by a zero byte. Rejected: Playwright and Selenium, which download
browsers and bring servers of their own.

    with open_browser() as browser, browser.page(width=1280) as page:
        page.go("http://127.0.0.1:8000/")
        page.wait_for("document.querySelectorAll('.card').length >= 10")
        page.click("#fresh")
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.lab.servers import find_program, spawn

PATIENCE_S = 120.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
)
# Bash puts the two ends where Chromium expects them.
_START = 'exec "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'
WATCH_LAYOUT = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


class BrowserError(Exception):
    """Chromium refused a command, a script threw, or nothing came in time."""


class Browser:
    """One running Chromium; each page of it is a visitor of its own."""

    def __init__(self, to_it: int, from_it: int) -> None:
        self._to_it = to_it
        self._from_it = from_it
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def command(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Raises:
        BrowserError: it refused, or did not answer within two minutes.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to_it, json.dumps(message).encode() + b"\0")
        until_s = time.monotonic() + PATIENCE_S
        while True:
            answer = self._read(until_s)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    @contextmanager
    def page(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> Iterator[Page]:
        """A visitor with cookies of its own."""
        context = self.command("Target.createBrowserContext")["browserContextId"]
        page = self.open_tab(context)
        page.command("Page.addScriptToEvaluateOnNewDocument", source=WATCH_LAYOUT)
        page.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.command("Emulation.setEmulatedMedia", features=[scheme])
        try:
            yield page
        finally:
            self.command("Target.disposeBrowserContext", browserContextId=context)

    def open_tab(self, context: str) -> Page:
        """One more page of a visitor, with the same cookies."""
        target = self.command("Target.createTarget", url="about:blank", browserContextId=context)
        session = self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)[
            "sessionId"
        ]
        page = Page(self, session, context)
        page.command("Page.enable")
        page.command("Runtime.enable")
        return page

    def exceptions(self, session: str) -> list[str]:
        """What scripts of a page threw and nothing caught."""
        return [
            event["params"]["exceptionDetails"].get("exception", {}).get("description", "?")
            for event in self._events
            if event.get("sessionId") == session and event["method"] == "Runtime.exceptionThrown"
        ]

    def _read(self, until_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from_it], [], [], until_s - time.monotonic())
            if not ready:
                raise BrowserError("Chromium does not answer")
            said = os.read(self._from_it, 1 << 20)
            if not said:
                raise BrowserError("Chromium has ended")
            self._buffer += said
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


class Page:
    """One page, and what its visitor does there."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context

    def open_tab(self) -> Page:
        """Another tab of the same visitor; it is closed with this one."""
        return self._browser.open_tab(self._context)

    def close(self) -> None:
        self.command("Page.close")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.command(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Raises:
        BrowserError: there is nothing at that address.
        """
        failure = self.command("Page.navigate", url=url).get("errorText")
        if failure:
            raise BrowserError(f"{url}: {failure}")

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is.

        Raises:
            BrowserError: it threw.
        """
        answer = self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception")))
        return answer["result"].get("value")

    def wait_for(self, script: str, what: str = "") -> Any:
        """Until an expression is true; its value.

        Raises:
            BrowserError: it has not become so within two minutes; with the text of the page.
        """
        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            value = self.run(script)
            if value:
                return value
            if time.monotonic() > give_up_s:
                text = self.run("document.body.innerText")
                raise BrowserError(f"never {what or script}; the page says:\n{text[:2000]}")
            time.sleep(0.05)

    def texts(self, selector: str) -> list[str]:
        """The text of each element that can be seen."""
        found: list[str] = self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            ".filter((each) => each.checkVisibility()).map((each) => each.innerText.trim())"
        )
        return found

    def click(self, selector: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """With the mouse, in the middle of it, where it has been scrolled to.

        Args:
            meanwhile: what happens while the button is held down.
        """
        x, y = self.run(
            f"""(() => {{
                const it = document.querySelector({json.dumps(selector)});
                it.scrollIntoView({{ block: "nearest" }});
                const box = it.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.command("Input.dispatchMouseEvent", type="mousePressed", **at)
        meanwhile()
        self.command("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def scroll_to_end(self) -> None:
        self.run("window.scrollTo(0, document.documentElement.scrollHeight)")

    def take_picture(self, path: Path) -> None:
        """A PNG of what can be seen."""
        shot = self.command("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def exceptions(self) -> list[str]:
        """What its scripts threw and nothing caught."""
        self.run("0")  # so that what came before this has arrived
        return self._browser.exceptions(self._session)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A Chromium with a fresh profile, ended with the block."""
    commands, to_it = os.pipe()
    from_it, answers = os.pipe()
    with tempfile.TemporaryDirectory(
        prefix="tidings-browser-", ignore_cleanup_errors=True
    ) as folder:
        process = spawn(
            [
                *("bash", "-c", _START, "bash", find_program("chromium"), *_FLAGS),
                *(f"--user-data-dir={folder}", "about:blank"),
            ],
            env={**os.environ, "COMMANDS": str(commands), "ANSWERS": str(answers)},
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        browser = Browser(to_it, from_it)
        try:
            yield browser
            browser.command("Browser.close")
        finally:
            os.close(to_it)
            os.close(from_it)
            with suppress(ProcessLookupError):  # its helpers end with it, or are ended here
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
