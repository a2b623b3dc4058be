"""`tidings up`: the whole site on one machine, from one terminal, stopped by one Ctrl-C.

It prepares what is missing (keys, Redis, schema, demo) and says so line by line, starts the
processes by their command lines, starts a dead one again with back-off, and stops them in the order
in which they need each other. Each runs in a process group of its own, so that Ctrl-C reaches only
this program, and dies with it even on kill -9. Rejected: honcho, which stops everything when one
process dies. On servers the platform's own supervisor does all this.

    tidings --site /srv/news up --no-demo
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
from redis import Redis, RedisError

from tidings.commands.articles import say_if_empty
from tidings.commands.embedded_redis import find_program, hold_data, redis_command
from tidings.process.asking import answers_ready
from tidings.process.backoff import failures_in_a_row, pause_s
from tidings.process.boot import prepare_var_dir
from tidings.process.errors import PREFIX, CannotStartError, naming
from tidings.process.listening import check_bind
from tidings.process.settings import Settings, describe, load_settings, make_secret_keys
from tidings.process.site_folder import SiteFolder, find_site, is_site, record_site
from tidings.shop.providers import check_name
from tidings.store.opening import migrate_database
from tidings.store.redis import make_redis

# A process that lives is still starting: on a busy machine its imports alone take half a minute.
START_WAIT_S = 120.0
STOP_WAIT_S = 15.0
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """One process of the site, kept running.

    Attributes:
        folder: where it runs; None is the current folder.
        umask: for the files that it makes; -1 leaves it as it is.
        keep_open: descriptors that it inherits, each time it is started.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    folder: Path | None = None
    umask: int = -1
    keep_open: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    failures: int = 0
    restart_at_s: float = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own command lines
            self.command,
            env=self.environment,
            cwd=self.folder,
            umask=self.umask,
            pass_fds=self.keep_open,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this program has one thread
        )
        self.started_s = time.monotonic()

    def look_after(self, now_s: float) -> None:
        """Start it again if it died, a little later each time it dies soon."""
        if self.process is None or self.process.poll() is None:
            return
        if not self.restart_at_s:
            self.failures = failures_in_a_row(self.failures, now_s - self.started_s)
            wait_s = pause_s(self.failures)
            self.restart_at_s = now_s + wait_s
            code = self.process.returncode
            reason = (
                f"was killed by {signal.Signals(-code).name}"
                if code < 0
                else f"ended with exit code {code}"
            )
            click.echo(f"tidings: {self.name} {reason}; starting it again in {wait_s} s", err=True)
        elif now_s >= self.restart_at_s:
            self.restart_at_s = 0.0
            self.start()

    def stop(self) -> None:
        """Ask it to end; after `STOP_WAIT_S` make it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            click.echo(
                f"tidings: {self.name} did not end within {STOP_WAIT_S:.0f} s and is killed",
                err=True,
            )
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(slots=True)
class Site:
    """The children in the order in which they need each other."""

    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self, child: Child) -> None:
        child.start()
        self.children.append(child)

    def wait_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Raises:
        CannotStartError: a process ended, or two minutes have passed.
        """
        give_up_s = time.monotonic() + START_WAIT_S
        while not is_ready():
            for child in self.children:
                if child.process is not None and child.process.poll() is not None:
                    raise CannotStartError(
                        f"{child.name} ended with exit code {child.process.returncode} at start"
                    )
            if self.stopping.is_set():
                raise CannotStartError("stopped before everything was up")
            if time.monotonic() > give_up_s:
                raise CannotStartError(f"{what} was not ready within {START_WAIT_S:.0f} s")
            self.stopping.wait(0.05)

    def look_after(self) -> None:
        while not self.stopping.wait(0.1):
            for child in self.children:
                child.look_after(time.monotonic())

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()


@click.command()
@click.option(
    "--demo/--no-demo",
    "with_demo",
    default=True,
    help="Fill an empty site with example articles and readers.",
)
def up(*, with_demo: bool) -> None:
    """Run the whole site on this machine until Ctrl-C."""
    from tidings.commands.demo import load_demo_once

    run_site(load_settings(), load_demo_once if with_demo else None)


def run_site(settings: Settings, load_demo: Callable[[Settings], str] | None) -> None:
    """Run every process until SIGINT or SIGTERM, and say what is done meanwhile.

    Args:
        load_demo: fills an empty site and returns a line about it; None leaves the site as it is.

    Raises:
        CannotStartError: something prevents a start; what had been started is stopped again.
    """
    site = Site()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: site.stopping.set())
    place = SiteFolder(find_site().home.absolute(), settings.site.var_dir.absolute())
    is_new = not is_site(place.var_dir)
    redis_program = find_program(settings) if settings.redis_is_embedded else None
    check_name(settings.shop.payment_provider)
    prepare_var_dir(settings)
    _check_binds(settings)
    click.echo(f"site {place.var_dir}{', a new one' if is_new else ''}")
    with ExitStack() as stack:
        if redis_program is not None:
            lock = stack.enter_context(hold_data(settings))
        make_secret_keys(settings.site)
        stack.callback(site.stop)
        if redis_program is not None:
            click.echo(f"starting Redis, {redis_program}")
            site.start(_redis(redis_program, settings, lock))
        _wait_for_redis(site, settings)
        click.echo(f"the database is at revision {migrate_database(settings)}")
        if load_demo is not None:
            click.echo(load_demo(settings))
        _start_processes(site, settings, place)
        record_site(place)
        _print_addresses(settings)
        say_if_empty(settings)
        site.look_after()
        click.echo("stopping")


def _check_binds(settings: Settings) -> None:
    for setting in describe(settings):
        if setting.name.endswith("_bind"):
            with naming(setting.name.upper()):
                check_bind(setting.value)


def _redis(program: str, settings: Settings, lock: int) -> Child:
    return Child(
        "redis",
        redis_command(program, settings),
        dict(os.environ),
        umask=0o077,
        keep_open=(lock,),
    )


def _wait_for_redis(site: Site, settings: Settings) -> None:
    redis = make_redis(settings.redis)
    site.wait_until(lambda: _answers(redis), f"Redis at {settings.redis.url}")
    redis.close()


def _start_processes(site: Site, settings: Settings, place: SiteFolder) -> None:
    # Only where the site is is handed on, so that a process started by hand beside these, which
    # finds the site by itself, uses the same Redis.
    environment = os.environ | {f"{PREFIX}VAR_DIR": str(place.var_dir)}
    if f"{PREFIX}DATABASE_URL" in os.environ:
        environment[f"{PREFIX}DATABASE_URL"] = settings.database.below(Path.cwd()).url
    doors = {
        "recommender": ("services.recommender", settings.recommender.metrics_bind),
        "gateway": ("gateway", settings.gateway.metrics_bind),
        "chat": ("services.chat", settings.chat.metrics_bind),
        "jobs": ("jobs", settings.jobs.metrics_bind),
    }
    click.echo(f"starting {', '.join(doors)}")
    for name, (module, _) in doors.items():
        command = [sys.executable, "-m", module]
        site.start(Child(name, command, environment, folder=place.home))
    for name, (_, bind) in doors.items():
        site.wait_until(lambda bind=bind: answers_ready(bind), name)  # type: ignore[misc]


def _print_addresses(settings: Settings) -> None:
    click.echo(
        f"""
Tidings is running; Ctrl-C stops all of it.
  read        http://{settings.gateway.bind}/
  feed        http://{settings.gateway.bind}/articles?channel_id=0
  API         http://{settings.gateway.bind}/docs
  chat        ws://{settings.chat.bind}/ws
  recommender thrift://{settings.recommender.bind}
  metrics     http://{settings.gateway.metrics_bind}/metrics (gateway)
              http://{settings.chat.metrics_bind}/metrics (chat)
              http://{settings.recommender.metrics_bind}/metrics (recommender)
              http://{settings.jobs.metrics_bind}/metrics (jobs)
  data        {settings.site.var_dir.absolute()}
"""
    )


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
