"""A whole site, as `tidings up` runs it, on free ports and in a folder of its own; and readers who
visit it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

import psutil

from tests.lab.servers import free_port, spawn
from tidings.process.errors import PREFIX
from tidings.process.settings import Settings, flat_names, read_settings

TIDINGS = Path(sys.executable).with_name("tidings")
READY = "Tidings is running"
# Ends what hangs; a busy machine takes five times as long as an idle one.
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 60
# By default a feed is plainer after half a second, and refused after two, which is right, and on a
# busy machine often so. A test that is not about that gives its site time.
PATIENT: dict[str, Any] = {
    "gateway_deadline_ms": 30_000,
    "gateway_recommend_ms": 15_000,
    "redis_timeout_s": 30,
}
# All readers of a test come from one address, and faster than people.
UNLIMITED = {
    name: 0
    for name in flat_names()
    if name.startswith(("gateway_limit_", "chat_limit_")) and name != "gateway_limit_window_s"
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP, with any status."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reader:
    """One browser: it keeps its cookies, and with them who it is. A 4xx or 5xx is an answer, not an
    exception."""

    def __init__(self, site_url: str) -> None:
        self._site_url = site_url
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies), ProxyHandler({}))

    @property
    def reader_id(self) -> int:
        """Who the site takes this browser for, once it has been there."""
        return int(self.cookie("tidings_reader").partition(".")[0])

    def cookie(self, name: str) -> str:
        """The value of a cookie that the site has set."""
        (value,) = [cookie.value for cookie in self._cookies if cookie.name == name]
        return value or ""

    def keep_cookie(self, name: str, value: str) -> None:
        """Go on as a browser that was given this cookie before."""
        host = urlsplit(self._site_url).hostname or ""
        self._cookies.set_cookie(
            Cookie(
                version=0,
                name=name,
                value=value,
                port=None,
                port_specified=False,
                domain=host,
                domain_specified=False,
                domain_initial_dot=False,
                path="/",
                path_specified=True,
                secure=False,
                expires=None,
                discard=False,
                comment=None,
                comment_url=None,
                rest={},
            )
        )

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """`body` travels as JSON.

        Raises:
            OSError: no answer came within a minute, or the connection broke.
        """
        request = Request(self._site_url + path, method=method, headers=dict(headers or {}))
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except HTTPError as ex:
            with ex:
                return Answer(ex.code, ex.headers, ex.read())


class Site:
    """A site that is starting or running, and everything it prints."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        settings: Settings,
        environment: Mapping[str, str],
        output: Path,
    ) -> None:
        self.process = process
        self.settings = settings
        self.environment = environment
        self.url = f"http://{settings.gateway.bind}"
        self._output = output
        self._seen: set[psutil.Process] = set()

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def reader(self) -> Reader:
        """A new anonymous reader."""
        return Reader(self.url)

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Raises:
        AssertionError: it ended or took too long; with what it printed.
        """
        give_up_at = time.monotonic() + timeout_s
        while READY not in self.output:
            assert self.process.poll() is None, (
                f"exit code {self.process.returncode}:\n{self.output[-4000:]}"
            )
            assert time.monotonic() < give_up_at, (
                f"not ready after {timeout_s} s:\n{self.output[-4000:]}"
            )
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Every process of the site below the one that was started."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self._seen.update(found)
        return found

    def commands(self) -> dict[psutil.Process, list[str]]:
        """Their command lines, but for those that have ended by now."""
        found = {}
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found[process] = process.cmdline()
        return found

    def find(self, module: str) -> psutil.Process:
        """The process that runs `python -m MODULE`, such as `services.recommender`; the first one
        if it has workers."""
        found = [child for child, command in self.commands().items() if module in command]
        assert found, f"{module} does not run:\n{self.output[-4000:]}"
        return found[0]

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """What Ctrl-C does. Returns the exit code once the site has ended."""
        self.processes()
        os.killpg(self.process.pid, number)
        return self.process.wait(STOP_TIMEOUT_S)

    def survivors(self) -> list[str]:
        """The command lines of processes that are still there after the end."""
        _, alive = psutil.wait_procs(self._seen, timeout=STOP_TIMEOUT_S)
        return [" ".join(process.cmdline()) for process in alive if process.is_running()]


def make_settings(folder: Path, values: Mapping[str, Any]) -> Settings:
    """The settings of a site that runs in `folder`, for use from elsewhere."""
    endpoints = tuple(str(values["recommender_endpoints"]).split(","))
    return read_settings(
        None,
        **{
            "var_dir": folder / "var",
            "database_url": f"sqlite:///{folder / 'var' / 'tidings.db'}",
            **values,
            "recommender_endpoints": endpoints,
        },
    )


@contextmanager
def start_site(
    folder: Path, *options: str, command: list[str] | None = None, **settings: object
) -> Iterator[Site]:
    """`tidings up OPTIONS` in `folder`, with `settings` by their names in `Settings`. It is not
    ready yet at first.

    Args:
        command: runs instead of that, and finds its site by itself.
    """
    binds = {name: f"127.0.0.1:{free_port()}" for name in flat_names() if name.endswith("_bind")}
    values = {**UNLIMITED, **binds, "recommender_endpoints": binds["recommender_bind"], **settings}
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    environment |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
    if command is None:
        environment.setdefault(f"{PREFIX}VAR_DIR", str(folder / "var"))
    output = folder / "output"
    with output.open("wb") as file:
        process = spawn(
            command or [str(TIDINGS), "up", *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    site = Site(process, make_settings(folder, values), environment, output)
    try:
        yield site
    finally:
        if process.poll() is None:
            site.processes()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for survivor in site._seen:
                if survivor.is_running():
                    survivor.kill()
