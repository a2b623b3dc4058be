"""Readers of a static site that is being rebuilt, and the verdict on every answer they got.

Readers are processes of their own that only note what came when. The journal knows which version of
each file stood in the folder when: an answer must be one that was right at some moment between the
question and the answer, whole, and a 404 only where nothing stood. The clock is the monotonic one,
which all processes of a machine share.
"""

from __future__ import annotations

import hashlib
import http.client
import multiprocessing
import os
import random
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tests.lab.servers import wait_until

FOREVER = float("inf")
TIMEOUT_S = 60
_processes = multiprocessing.get_context("spawn")


class Answer(NamedTuple):
    """What one request came to: a digest of a whole file, or None for a 404, or a trouble in
    words."""

    path: str
    asked_s: float
    answered_s: float
    digest: bytes | None
    trouble: str


@dataclass
class Version:
    """A file as it stood from some moment of one build to some moment of another; a digest of None
    is its absence."""

    digest: bytes | None
    from_s: float
    until_s: float = FOREVER


@dataclass
class Journal:
    """Which version of each file stood in the folder when."""

    root: Path
    versions: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    _stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

    def build(self, build: Callable[[], Any]) -> Any:
        """Run `build` and note what it changed."""
        started_s = time.monotonic()
        result = build()
        ended_s = time.monotonic()
        stamps = dict(self._look())
        for name in self._stamps.keys() - stamps.keys():
            self._note(name, None, started_s, ended_s)
        for name, stamp in stamps.items():
            if self._stamps.get(name) != stamp:
                self._note(name, digest((self.root / name).read_bytes()), started_s, ended_s)
        self._stamps = stamps
        return result

    def judge(self, answer: Answer) -> str:
        """What is wrong with an answer; empty if nothing is."""
        if answer.trouble:
            return answer.trouble
        right = [
            version.digest
            for version in self.versions[answer.path]
            if version.from_s <= answer.answered_s and answer.asked_s <= version.until_s
        ]
        if answer.digest in right:
            return ""
        return (
            "404 for a page that was there"
            if answer.digest is None
            else "a version that was not current"
        )

    def _look(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for path in self.root.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                status = path.stat()
                yield str(path.relative_to(self.root)), (status.st_ino, status.st_mtime_ns)

    def _note(self, name: str, content: bytes | None, started_s: float, ended_s: float) -> None:
        known = self.versions[name]
        if known:
            known[-1].until_s = ended_s
        elif content is not None:
            known.append(Version(None, -FOREVER, ended_s))
        known.append(Version(content, started_s))


@dataclass
class Readers:
    """Processes that read; `answers` is complete once they have been stopped."""

    counted: Any
    answers: list[Answer] = field(default_factory=list)

    def wait_for(self, more: int) -> None:
        """Until they have so many answers more, all together."""
        enough = self.counted.value + more
        wait_until(lambda: self.counted.value >= enough, TIMEOUT_S, "the readers' answers")


@contextmanager
def readers(url: str, paths: Sequence[str], number: int) -> Iterator[Readers]:
    """`number` processes that ask for `paths` at random, as fast as they can, until the end of the
    block."""
    over, counted = _processes.Event(), _processes.Value("Q")
    pipes, running = [], []
    for seed in range(number):
        mine, theirs = _processes.Pipe(duplex=False)
        process = _processes.Process(
            target=_read, args=(url, list(paths), seed, over, counted, theirs), daemon=True
        )
        process.start()
        theirs.close()
        pipes.append(mine)
        running.append(process)
    found = Readers(counted)
    try:
        for pipe in pipes:
            pipe.recv()
        yield found
        over.set()
        for pipe in pipes:
            found.answers += [Answer(*row) for row in pipe.recv()]
    finally:
        for process in running:
            process.kill()
            process.join()


def digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def tell(journal: Journal, answers: Sequence[Answer]) -> Counter[str]:
    """How many answers were wrong in which way."""
    verdicts = Counter(journal.judge(answer) for answer in answers)
    del verdicts[""]
    return verdicts


def _read(url: str, paths: list[str], seed: int, over: Any, counted: Any, pipe: Any) -> None:
    os.nice(
        10
    )  # readers are elsewhere; where there are two cores they would leave the builder none
    rng = random.Random(seed)
    answers: list[Answer] = []
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    pipe.send("ready")
    while not over.is_set():
        answer = _ask(connection, rng.choice(paths), compressed=rng.random() < 0.25)
        answers.append(answer)
        with counted.get_lock():
            counted.value += 1
        if answer.trouble:
            connection.close()
    connection.close()
    pipe.send([tuple(answer) for answer in answers])


def _ask(connection: http.client.HTTPConnection, path: str, *, compressed: bool) -> Answer:
    asked_s = time.monotonic()
    found: bytes | None = None
    trouble = ""
    try:
        connection.request(
            "GET", f"/{quote(path)}", headers={"Accept-Encoding": "gzip"} if compressed else {}
        )
        response = connection.getresponse()
        content = response.read()  # IncompleteRead if it is shorter than announced
        if response.status == http.HTTPStatus.OK:
            content = _unpack(response, content)
            trouble = "" if _is_whole(path, content) else "half a page"
            found = digest(content)
        elif response.status != http.HTTPStatus.NOT_FOUND:
            trouble = f"status {response.status}"
    except (OSError, http.client.HTTPException, zlib.error) as ex:
        trouble = type(ex).__name__
    return Answer(path, asked_s, time.monotonic(), found, trouble)


def _unpack(response: http.client.HTTPResponse, content: bytes) -> bytes:
    if response.headers.get("Content-Encoding") == "gzip":
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content = inflate.decompress(content)
        if not inflate.eof:
            raise zlib.error("the end is missing")
    elif len(content) != int(response.headers["Content-Length"]):
        raise http.client.IncompleteRead(content)
    return content


def _is_whole(path: str, content: bytes) -> bool:
    if path.endswith(".ico"):  # the largest of its pictures, a PNG, stands last
        return content.endswith(b"IEND\xae\x42\x60\x82")
    ends = {".html": b"</html>", ".atom": b"</feed>\n", ".rss": b"</rss>\n"}
    return content.endswith(ends.get(Path(path).suffix, b"\n"))
