"""Two recommenders to break, and readers who ask them through our client and look closely at what
they get.

Every answer proves to whom it belongs: its tokens name the reader, and a reader's batches bear
rising stamps, so that a reply given to the wrong call, or to the right one twice, cannot go
unnoticed.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.request import urlopen

import psutil

from tests.faults.stolen_time import EVERY_S, StolenTime
from tests.lab.newsroom import Clock, Newsroom
from tests.lab.servers import RedisServer, find_program, free_port, spawn, wait_until
from tidings.process.deadline import DeadlineExceededError
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.reading.tracking import Tracker
from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings.rpc.errors import RpcError, party
from tidings.store.engine import make_engine
from tidings.store.migrate import migrate
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest

REPOSITORY = Path(__file__).parents[2]
SECRET_KEY = "0123456789abcdef" * 4
DEADLINE_MS = 500
# Where nothing may be lost, a machine too busy to answer within half a second is no finding.
PATIENT_MS = 3000
LATE_MS = 150  # a loaded machine wakes a thread later than it should
START_S = 30.0


@dataclass
class Recommender:
    """One server: a master and its workers. `namespace` is the network it lives in, if not this
    one."""

    bind: str
    metrics_bind: str
    environment: dict[str, str]
    log: Path
    namespace: str = ""
    start_s: float = START_S
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it is ready."""
        inside = [find_program("ip"), "netns", "exec", self.namespace] if self.namespace else []
        with self.log.open("ab") as output:
            command = [*inside, sys.executable, "-m", "services.recommender"]
            self.process = spawn(
                command, env=self.environment, cwd=REPOSITORY, stdout=output, stderr=output
            )
        try:
            wait_until(self._is_ready, self.start_s, f"the recommender at {self.bind}")
        except TimeoutError as ex:
            raise AssertionError(self.log.read_text()[-2000:]) from ex

    def send(self, number: signal.Signals) -> None:
        """To the master alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """To the master and its workers."""
        assert self.process is not None
        for each in (psutil.Process(self.process.pid), *self.workers()):
            each.send_signal(number)

    @property
    def pid(self) -> int:
        """Of the master."""
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()

    def has_followed(self, pid: int) -> bool:
        """There are workers, and `pid` is none of them."""
        now = [worker.pid for worker in self.workers()]
        return bool(now) and pid not in now

    def wait(self) -> None:
        assert self.process is not None
        self.process.wait(START_S)

    def restart(self) -> None:
        """After an end of its own or a violent one."""
        self.wait()
        self.start()

    def replace_workers(self) -> None:
        """SIGHUP; returns when there are only new ones that serve."""
        before = {worker.pid for worker in self.workers()}
        self.send(signal.SIGHUP)
        wait_until(
            lambda: bool(now := {worker.pid for worker in self.workers()}) and not now & before,
            START_S,
            "the new workers",
        )

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        if self.namespace:  # its operators' port is on the other side of the wall
            return "rpc_server_started" in self.log.read_text()
        with (
            suppress(OSError),
            urlopen(f"http://{self.metrics_bind}/health/ready", timeout=10) as answer,
        ):
            return bool(answer.status == 200)
        return False


@dataclass
class Site:
    """What the recommenders share: a Redis on a unix socket, which no network fault reaches, and an
    SQLite file."""

    folder: Path
    redis: RedisServer
    settings: dict[str, str]
    recommenders: list[Recommender] = field(default_factory=list)

    def add(
        self,
        *,
        address: str = "127.0.0.1",
        namespace: str = "",
        workers: int = 1,
        start_s: float = START_S,
    ) -> Recommender:
        """Start one more recommender; it has `start_s` to be ready."""
        number = len(self.recommenders)
        bind, metrics_bind = f"{address}:{free_port()}", f"127.0.0.1:{free_port()}"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(PREFIX)
        }
        environment |= self.settings | {
            f"{PREFIX}RECOMMENDER_BIND": bind,
            f"{PREFIX}RECOMMENDER_METRICS_BIND": metrics_bind,
            f"{PREFIX}RECOMMENDER_WORKERS": str(workers),
            f"{PREFIX}RECOMMENDER_ALLOW_PLAINTEXT": "true",
        }
        one = Recommender(
            bind,
            metrics_bind,
            environment,
            self.folder / f"recommender-{number}.log",
            namespace=namespace,
            start_s=start_s,
        )
        self.recommenders.append(one)
        one.start()
        return one


@contextmanager
def start_site(folder: Path, *, database_url: str = "") -> Iterator[Site]:
    """A site with two hundred articles and no recommender yet, in SQLite unless told otherwise."""
    with ExitStack() as stack:
        redis = stack.enter_context(
            RedisServer(folder, ("--unixsocket", str(folder / "redis.sock")))
        )
        url = database_url or f"sqlite:///{folder}/tidings.db"
        engine = make_engine(read_settings(None, database_url=url).database)
        migrate(engine)
        room = Newsroom(engine, Clock(time.time_ns() // 1_000_000))
        room.channels(1)
        room.articles(200)
        engine.dispose()
        settings = {
            f"{PREFIX}VAR_DIR": str(folder / "var"),
            f"{PREFIX}DATABASE_URL": url,
            f"{PREFIX}REDIS_URL": f"unix://{folder}/redis.sock",
            f"{PREFIX}SECRET_KEYS": SECRET_KEY,
            f"{PREFIX}LOG_FORMAT": "json",
        }
        site = Site(folder, redis, settings)
        try:
            yield site
        finally:
            for recommender in site.recommenders:
                if recommender.process is not None and recommender.process.poll() is None:
                    with suppress(psutil.NoSuchProcess, ProcessLookupError):
                        recommender.send_all(signal.SIGCONT)
                        recommender.process.kill()
                    recommender.process.wait()


@dataclass
class Seen:
    """What the readers saw.

    Attributes:
        excused: of the calls that were lost, those that were given up for time stolen from them.
        took_ms: of each call; of one that took longer than its deadline, without what was stolen.
    """

    answered: int = 0
    excused: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)

    def p99_ms(self) -> float:
        return sorted(self.took_ms)[int(len(self.took_ms) * 0.99)] if self.took_ms else 0.0


class Readers:
    """A few threads that call through one client without a pause, and one now and then through one
    of its own.

    Args:
        recommenders: all there are.
        busy: how many threads; no more calls than that, and one, are ever in flight.
        deadline_ms: of each call.
        redis_pid: of the Redis that the recommenders wait for.
    """

    def __init__(
        self, recommenders: Sequence[Recommender], busy: int, deadline_ms: int, *, redis_pid: int
    ) -> None:
        endpoints = [recommender.bind for recommender in recommenders]
        self._recommenders = recommenders
        self._always = [os.getpid(), redis_pid]
        self._found, self._found_at_s = list[int](), -math.inf
        self._stolen = StolenTime(self._processes)
        self._deadline_ms = deadline_ms
        policy = Policy(timeout_ms=deadline_ms, pool_size=busy)
        self._clients = [
            make_client(UserRecommend, endpoints, policy=policy, caller="readers") for _ in range(2)
        ]
        self._tracker = Tracker([SECRET_KEY.encode()])
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.seen = Seen()
        self._threads = [
            threading.Thread(target=self._read, args=(self._clients[0], 0.002), daemon=True)
            for _ in range(busy)
        ]
        self._threads.append(
            threading.Thread(target=self._read, args=(self._clients[1], 0.4), daemon=True)
        )
        self._threads.append(threading.Thread(target=self._watch_the_clock, daemon=True))

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a call has no end"
        for client in self._clients:
            client.close()

    def _processes(self) -> list[int]:
        """This one, Redis, and the recommenders' with their workers, as they were within the last
        second: to look for workers takes a look at every process of the machine."""
        if time.monotonic() - self._found_at_s > 1:
            self._found, self._found_at_s = [*self._always], time.monotonic()
            for recommender in self._recommenders:
                with suppress(psutil.NoSuchProcess):  # it is being started anew
                    workers = [worker.pid for worker in recommender.workers()]
                    self._found += [recommender.pid, *workers]
        return self._found

    def _watch_the_clock(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._stolen.look()

    def _read(self, client: object, pause_s: float) -> None:
        stamps: dict[int, int] = {}
        mine = [next(self._numbers) + 1_000_000 for _ in range(5)]
        for turn in count():
            if self._stop.wait(pause_s):
                return
            self._ask(client, mine[turn % len(mine)], stamps)

    def _ask(self, client: object, user_id: int, stamps: dict[int, int]) -> None:
        began_s, stolen_s = time.monotonic(), self._stolen.total_s
        verdict = lost = ""
        try:
            answer = client.call("user_recommend", UserRequest(user_id, 0, 10, 0))  # type: ignore[attr-defined]
            verdict = self._judge(answer, user_id, stamps)
        except (RpcError, DeadlineExceededError) as ex:
            lost = f"{party(ex)}: {ex}"[:120]
        took_ms = (time.monotonic() - began_s) * 1000
        is_excused = False
        if took_ms > 0.9 * self._deadline_ms:
            took_ms -= (self._stolen.look() - stolen_s) * 1000
            # What is left would have been enough for an answer.
            is_excused = bool(lost) and took_ms < 0.5 * self._deadline_ms
        if took_ms > self._deadline_ms + LATE_MS:
            verdict = verdict or "late"
        with self._lock:
            self.seen.took_ms.append(took_ms)
            self.seen.answered += not lost
            self.seen.excused += is_excused
            if lost:
                self.seen.lost[lost] += 1
            if verdict:
                self.seen.wrong[verdict] += 1

    def _judge(self, answer: ArticleResponse, user_id: int, stamps: dict[int, int]) -> str:
        """What is wrong with an answer; nothing if nothing is."""
        now_ms = time.time_ns() // 1_000_000
        batch = self._tracker.read(answer.exposure, now_ms)
        clicks = [self._tracker.read(article.track.click, now_ms) for article in answer.recommends]
        if {batch.reader_id, *(click.reader_id for click in clicks)} != {user_id}:
            return "of another reader"
        if {click.stamp_ms for click in clicks} != {batch.stamp_ms} or len(clicks) != 10:
            return "torn"
        if batch.stamp_ms <= stamps.get(user_id, 0):
            return "doubled"
        stamps[user_id] = batch.stamp_ms
        return ""
