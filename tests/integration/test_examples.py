"""The clients in examples/: each in its own language, built by its own make target, beside a real
recommender.

Ids above 2^53 go through all of them, since an id that was rounded looks like any other id.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, insert

from tests.conftest import SECRET_KEY
from tests.lab.examples import make_example
from tests.lab.programs import run_to_end
from tests.lab.servers import find_program, free_port, spawn, start_redis, wait_until
from tidings.news.tables import article, channel
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.reading.acts import Action
from tidings.reading.behaviour_log import BEGINNING, read_log
from tidings.reading.events import Event
from tidings.rpc.calling.client import Client, make_client
from tidings.rpc.calling.policy import Policy
from tidings.store.engine import make_engine, transaction
from tidings.store.migrate import migrate
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest

ROOT = Path(__file__).parent.parent.parent
COMMANDS = {
    "node": "node examples/node/client.js",
    "java": "java -jar examples/java/build/client.jar",
    "go": "examples/go/build/client",
    "cpp": "examples/cpp/build/client",
    "php": "php examples/php/client.php",
    "ruby": "ruby examples/ruby/client.rb",
    "perl": "perl examples/perl/client.pl",
    "python": "python examples/python/client.py",
}
FIRST_NEED = {
    "node": ("node", "nodejs"),
    "java": ("javac", "default-jdk-headless"),
    "go": ("go", "golang-go"),
    "cpp": ("g++", "g++"),
    "php": ("php", "php-cli"),
    "ruby": ("ruby", "ruby"),
    "perl": ("perl", "perl"),
}
CHANNEL_ID = 10
FIRST_ARTICLE_ID = 2**60 + 1
ARTICLES = 45
# Ends what hangs.
GIVES_UP_WITHIN_S = 120
# An example waits two seconds for an answer. On a busy machine one may come later; then it is asked
# again.
ATTEMPTS = 5
TIMED_OUT = re.compile(r"timed? ?out|no answer within", re.IGNORECASE)
Command = Callable[[str], list[str]]
every_language = pytest.mark.parametrize("language", COMMANDS)


def blocks(language: str) -> list[str]:
    """The code blocks of docs/thrift-clients.md that are marked as this language."""
    page = (ROOT / "docs" / "thrift-clients.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="session")
def command() -> Command:
    """How to run the client of a language, which is built first."""

    @functools.cache
    def build(language: str) -> list[str]:
        done = make_example(language)
        assert done.returncode == 0, done.stdout + done.stderr
        program, *rest = COMMANDS[language].split()
        return [sys.executable if program == "python" else program, *rest]

    return build


@dataclass
class Recommender:
    port: int
    redis: redis.Redis
    client: Client

    def ask(self, reader_id: int, stamp: int = 0) -> Any:
        return self.client.call("user_recommend", UserRequest(reader_id, CHANNEL_ID, 10, stamp))

    def pages(self, reader_id: int) -> list[tuple[int, list[int]]]:
        """Every batch recorded for this reader as (stamp, ids), newest first. One more is recorded
        by asking."""
        found = []
        stamp = self.ask(reader_id).time_stamp
        while stamp:
            page = self.ask(reader_id, stamp)
            found.append((stamp, ids(page)))
            stamp = page.time_stamp
        return found

    def last_event(self) -> Event:
        """The newest event of the behaviour log."""
        return read_log(self.redis, BEGINNING, 1000).events[-1]


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recommender]:
    """A recommender over 45 articles of one channel."""
    folder = tmp_path_factory.mktemp("recommender")
    database_url = f"sqlite:///{folder}/tidings.db"
    prepare(database_url)
    port = free_port()
    with (
        start_redis() as redis_server,
        redis.Redis.from_url(redis_server.url, socket_timeout=60) as redis_client,
    ):
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_server.url,
            "REDIS_TIMEOUT_S": "30",
            "RECOMMENDER_BIND": f"127.0.0.1:{port}",
            "RECOMMENDER_METRICS_BIND": f"127.0.0.1:{free_port()}",
            "SECRET_KEYS": SECRET_KEY,
            "VAR_DIR": str(folder),
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        process = spawn(
            [sys.executable, "-m", "services.recommender"],
            env=inherited | {PREFIX + key: value for key, value in settings.items()},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(
                lambda: listens(port) or process.poll() is not None, 30, "the recommender to listen"
            )
            policy = Policy(timeout_ms=60_000)
            with make_client(
                UserRecommend, [f"127.0.0.1:{port}"], policy=policy, caller="tests"
            ) as client:
                yield Recommender(port, redis_client, client)
        finally:
            process.terminate()
            process.wait(60)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def prepare(database_url: str) -> None:
    engine = make_engine(read_settings(None, database_url=database_url).database)
    migrate(engine)
    publish(engine)
    engine.dispose()


def publish(engine: Engine) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "id": FIRST_ARTICLE_ID + 2 * number,
            "source_id": f"article-{number}",
            "channel_id": CHANNEL_ID,
            "title": f"Article {number}",
            "summary": "",
            "body": "",
            "status": "published",
            "published_at": now - timedelta(minutes=1 + number),
            "updated_at": now,
        }
        for number in range(ARTICLES)
    ]
    with transaction(engine) as conn:
        conn.execute(insert(channel), {"id": CHANNEL_ID, "slug": "science", "name": "Science"})
        conn.execute(insert(article), rows)


new_reader_id = functools.partial(next, count(2**53 + 1, 2))


def ids(page: Any) -> list[int]:
    return [entry.article_id for entry in page.recommends]


def words(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


@every_language
def test_a_client_in_another_language_gets_what_ours_gets(
    language: str, command: Command, recommender: Recommender
) -> None:
    """A fresh feed, every page before it, an accepted click, a refusal that names the field, the
    server's health."""
    client = command(language)
    for _ in range(ATTEMPTS):
        reader_id, twin_id = new_reader_id(), new_reader_id()
        for _ in range(3):
            recommender.ask(reader_id)
            recommender.ask(twin_id)
        arguments = ["127.0.0.1", str(recommender.port), str(reader_id), str(CHANNEL_ID)]
        done = run_to_end([*client, *arguments], ROOT, os.environ)
        if not TIMED_OUT.search(done.stderr):
            break

    clicked = recommender.last_event()
    (_, shown), *before = recommender.pages(reader_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"fresh {words(shown)}",
        *(f"history {stamp} {words(page)}" for stamp, page in before),
        "click ACCEPTED",
        "error 422 article_num: expected 1 to 100, got 101",
        "ready yes",
    ]
    assert len(before) == 3
    # What our own client is shown at this point; one place explores, for each reader elsewhere.
    assert len({*shown} & {*ids(recommender.ask(twin_id))}) >= len(shown) - 1
    assert (clicked.action, clicked.reader_id, clicked.article_id) == (
        Action.CLICK,
        reader_id,
        shown[0],
    )


@contextmanager
def nobody() -> Iterator[int]:
    yield free_port()


@contextmanager
def silent() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def unreachable() -> Iterator[int]:
    """The queue of connections not yet accepted is full, so the kernel drops every attempt to
    connect."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = listener.getsockname()[1]
        waiting: list[socket.socket] = []
        while len(waiting) < 10:
            try:
                waiting.append(socket.create_connection(("127.0.0.1", port), timeout=0.2))
            except TimeoutError:
                break
        assert len(waiting) < 10, "the queue does not fill"
        yield port
        for connection in waiting:
            connection.close()


@contextmanager
def hangs_up() -> Iterator[int]:
    """Reads the request and closes without an answer."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)

        serving = threading.Thread(target=serve)
        serving.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()


@pytest.mark.parametrize("peer", [nobody, silent, unreachable, hangs_up])
def test_every_client_gives_up_in_time(
    peer: Callable[[], AbstractContextManager[int]], command: Command
) -> None:
    """Trap: most Thrift libraries wait for ever by default. Here: exit code 1, and one line that
    says why."""
    commands = {language: command(language) for language in COMMANDS}
    with peer() as port:
        ended = run_all(commands, "127.0.0.1", str(port), "7", "0")

    assert {language: (code, out) for language, (code, out, _) in ended.items()} == dict.fromkeys(
        COMMANDS, (1, "")
    )
    assert [err for _, _, err in ended.values() if not re.fullmatch(r"client: .+\n", err)] == []


def test_every_client_shows_the_message_of_a_declared_error(
    command: Command, recommender: Recommender
) -> None:
    commands = {language: command(language) for language in COMMANDS}
    ended: dict[str, tuple[int, str, str]] = {}

    for _ in range(ATTEMPTS):
        late = {
            language: commands[language]
            for language in COMMANDS
            if language not in ended or TIMED_OUT.search(ended[language][2])
        }
        ended |= run_all(late, "127.0.0.1", str(recommender.port), "7", "99")

    assert ended == dict.fromkeys(COMMANDS, (1, "", "client: there is no channel 99\n"))


def test_every_client_says_how_it_is_used(command: Command) -> None:
    ended = run_all({language: command(language) for language in COMMANDS})

    assert ended == dict.fromkeys(COMMANDS, (2, "", "usage: client HOST PORT USER_ID CHANNEL_ID\n"))


def run_all(commands: dict[str, list[str]], *arguments: str) -> dict[str, tuple[int, str, str]]:
    """Run the clients side by side; exit code, output and errors of each."""
    running = {
        language: subprocess.Popen(
            [*client, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for language, client in commands.items()
    }
    try:
        said = {
            language: process.communicate(timeout=GIVES_UP_WITHIN_S)
            for language, process in running.items()
        }
    finally:
        for process in running.values():
            process.kill()
    return {
        language: (process.returncode, *said[language]) for language, process in running.items()
    }


@pytest.mark.parametrize("language", ["go", "cpp", "python"])
def test_the_documented_patch_sends_the_deadline(
    language: str, command: Command, recommender: Recommender, tmp_path: Path
) -> None:
    """Trap: a library can have the header protocol and never write a header. A budget of nothing is
    seen to arrive."""
    command(language)
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("node_modules")
    )
    for folder in ("idl", "requirements"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (patch,) = [block for block in blocks("diff") if f"/examples/{language}/" in block]
    assert '"500"' in patch
    hurried = patch.replace('"500"', '"0"')
    git = [find_program("git"), "apply", "-"]
    subprocess.run(git, cwd=tmp_path, input=hurried, check=True, text=True, timeout=30)
    built = make_example(language, cwd=tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr

    arguments = ["127.0.0.1", str(recommender.port), "7", str(CHANNEL_ID)]
    for _ in range(ATTEMPTS):
        done = run_to_end([*command(language), *arguments], tmp_path, os.environ)
        if not TIMED_OUT.search(done.stderr):
            break

    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "client: the deadline has passed\n",
    )


@pytest.mark.parametrize("language", FIRST_NEED)
def test_a_missing_compiler_is_named_with_its_package(language: str, tmp_path: Path) -> None:
    for program in ("awk", "thrift"):
        (tmp_path / program).symlink_to(find_program(program))
    program, package = FIRST_NEED[language]

    done = make_example(language, env={**os.environ, "PATH": str(tmp_path)})

    assert done.returncode != 0
    assert f"{program} is missing; it is in the Debian package {package}\n" in done.stderr


def test_whatever_a_client_needs_is_installed_before_the_tests() -> None:
    """The needs stand in examples/Makefile; their packages where all the others stand, in
    requirements/system.txt."""
    needs = re.findall(
        r"^NEEDS_\w+ := (.+)$", (ROOT / "examples" / "Makefile").read_text(), re.MULTILINE
    )
    known = {
        line.split()[0] for line in (ROOT / "requirements" / "system.txt").read_text().splitlines()
    }

    assert len(needs) == len(FIRST_NEED)
    assert {thing for line in needs for thing in line.split()} - known == set()


@every_language
def test_the_docs_show_the_commands_that_are_run_here(language: str) -> None:
    assert f"make -C examples {language}\n{COMMANDS[language]} 127.0.0.1 9090 7 0\n" in blocks("sh")


def test_the_code_in_the_docs_is_the_code_of_the_examples() -> None:
    """Each snippet is quoted from its client, line by line."""
    sources = {
        path.suffix[1:]: path.read_text() for path in (ROOT / "examples").glob("*/[Cc]lient.*")
    }
    fences = {"java": "java", "go": "go", "cpp": "cpp", "php": "php", "js": "js"}
    fences |= {"rb": "ruby", "pl": "perl", "py": "python"}
    assert set(fences) == set(sources)

    stray = {
        suffix: [
            line
            for block in blocks(fence)
            for line in block.splitlines()
            if line.strip() not in sources[suffix]
        ]
        for suffix, fence in fences.items()
    }

    assert all(blocks(fence) for fence in fences.values())
    assert stray == {suffix: [] for suffix in fences}


def test_the_lock_file_names_no_registry() -> None:
    """npm installs from the registry of the machine that builds, and by default would write that
    one down."""
    assert '"resolved"' not in (ROOT / "examples" / "node" / "package-lock.json").read_text()
