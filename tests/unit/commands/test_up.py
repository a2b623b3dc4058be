"""`tidings up`: children kept running, started and stopped in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.servers import wait_until
from tidings.commands import up as up_module
from tidings.commands.up import Child, Site
from tidings.process.backoff import PAUSES_S, STEADY_AFTER_S
from tidings.process.errors import CannotStartError

MakeChild = Callable[..., Child]

WAIT = "import signal; signal.pause()"


def on_sigterm(reaction: str, mark: Path) -> str:
    """Code that reacts to SIGTERM like this, and makes the file `mark` once it would."""
    return (
        f"import pathlib, signal; signal.signal(15, {reaction}); "
        f"pathlib.Path({str(mark)!r}).touch(); {WAIT}"
    )


@pytest.fixture
def make_child() -> Iterator[MakeChild]:
    """Children that run a line of Python; none outlives the test."""
    made: list[Child] = []

    def make(code: str, name: str = "child") -> Child:
        made.append(Child(name, [sys.executable, "-c", code], dict(os.environ)))
        return made[-1]

    yield make
    for child in made:
        if child.process is not None and child.process.poll() is None:
            child.process.kill()
            child.process.wait()


def started(child: Child) -> subprocess.Popen[bytes]:
    """The child's process, started."""
    child.start()
    assert child.process is not None
    return child.process


class TestChild:
    """One process of the site, kept running."""

    def test_it_is_left_alone_while_it_runs(self, make_child: MakeChild) -> None:
        """Looking after a child that is well changes nothing; nor does looking after one that never
        started."""
        child = make_child(WAIT)
        child.look_after(0.0)
        process = started(child)
        child.look_after(time.monotonic())

        assert child.process is process
        assert process.poll() is None

    def test_it_is_started_again_a_little_later_each_time_it_dies_soon(
        self, make_child: MakeChild, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """What cannot live must not be started a hundred times a second; each pause is said to the
        operator."""
        child = make_child("raise SystemExit(3)")
        started(child).wait(60)
        pauses_s = []
        for _ in range(len(PAUSES_S)):
            died_s = child.started_s + 0.1
            child.look_after(died_s)
            pauses_s.append(child.restart_at_s - died_s)
            dead = child.process
            child.look_after(child.restart_at_s - 0.001)
            assert child.process is dead
            child.look_after(child.restart_at_s)
            assert child.process is not None
            assert child.process is not dead
            child.process.wait(60)

        assert pauses_s == pytest.approx([*PAUSES_S[1:], PAUSES_S[-1]])
        assert "child ended with exit code 3; starting it again in 0.2 s" in capsys.readouterr().err

    def test_one_that_had_run_steadily_is_started_again_soon(
        self, make_child: MakeChild, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A crash after hours of work is no sign of a crash loop; how it died is said by the
        signal's name."""
        child = make_child(WAIT)
        process = started(child)
        child.failures = 4
        process.kill()
        process.wait(60)
        died_s = child.started_s + STEADY_AFTER_S
        child.look_after(died_s)

        assert child.restart_at_s - died_s == pytest.approx(PAUSES_S[1])
        assert "child was killed by SIGKILL" in capsys.readouterr().err

    def test_it_is_asked_to_end_and_may_clean_up(
        self, make_child: MakeChild, tmp_path: Path
    ) -> None:
        """SIGTERM first: what it does about that is its own business."""
        mark = tmp_path / "up"
        child = make_child(on_sigterm("lambda *_: exit(5)", mark))
        process = started(child)
        wait_until(mark.exists, 10, "the child")
        child.stop()

        assert process.returncode == 5

    def test_one_that_does_not_end_is_killed(
        self,
        make_child: MakeChild,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        """Ctrl-C ends everything, also what will not listen; and it is said which one that was."""
        monkeypatch.setattr(up_module, "STOP_WAIT_S", 0.05)
        mark = tmp_path / "up"
        child = make_child(on_sigterm("signal.SIG_IGN", mark))
        process = started(child)
        wait_until(mark.exists, 10, "the child")
        child.stop()

        assert process.returncode == -signal.SIGKILL
        assert "child did not end within 0 s and is killed" in capsys.readouterr().err

    def test_ctrl_c_in_the_terminal_does_not_reach_it(self, make_child: MakeChild) -> None:
        """It has a process group of its own; only `tidings up` decides in which order the site
        stops."""
        process = started(make_child(WAIT))

        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)

    def test_it_dies_with_its_parent_even_on_kill(self, tmp_path: Path) -> None:
        """A parent that was killed cannot stop anybody: the kernel does it, and no process is left
        behind."""
        mark = tmp_path / "pid"
        code = (
            "import os, sys\n"
            "from tidings.commands.up import Child\n"
            f"child = Child('child', [sys.executable, '-c', {WAIT!r}], dict(os.environ))\n"
            "child.start()\n"
            f"open({str(mark) + '.new'!r}, 'w').write(str(child.process.pid))\n"
            f"os.rename({str(mark) + '.new'!r}, {str(mark)!r})\n"
            f"{WAIT}"
        )
        with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code]) as parent:
            wait_until(mark.exists, 20, "the grandchild")
            parent.kill()
        pid = int(mark.read_text())

        wait_until(lambda: not _runs(pid), 10, "the grandchild to die")


class TestSite:
    """The children in the order in which they need each other."""

    def test_waiting_ends_when_all_is_ready(self, make_child: MakeChild) -> None:
        """As soon as the question is answered with yes."""
        site, answers = Site(), iter([False, False, True])
        site.start(make_child(WAIT))
        site.wait_until(lambda: next(answers), "the child")
        site.stop()

        assert next(answers, "all were asked") == "all were asked"

    def test_a_child_that_ends_at_start_ends_the_wait(self, make_child: MakeChild) -> None:
        """Which one and with what code, at once rather than after half a minute."""
        site = Site()
        site.start(make_child("raise SystemExit(2)", name="gateway"))

        with pytest.raises(CannotStartError, match="gateway ended with exit code 2 at start"):
            site.wait_until(lambda: False, "the gateway")

    def test_a_child_that_is_never_ready_is_named(
        self, make_child: MakeChild, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The wait is bounded, and says for what it was."""
        monkeypatch.setattr(up_module, "START_WAIT_S", 0.05)
        site = Site()
        site.start(make_child(WAIT))

        with pytest.raises(CannotStartError, match="the gateway was not ready within"):
            site.wait_until(lambda: False, "the gateway")
        site.stop()

    def test_ctrl_c_while_starting_ends_the_wait(self, make_child: MakeChild) -> None:
        """A start can be stopped before it is done."""
        site = Site()
        site.start(make_child(WAIT))
        site.stopping.set()

        with pytest.raises(CannotStartError, match="stopped before everything was up"):
            site.wait_until(lambda: False, "the gateway")
        site.stop()

    def test_children_stop_in_the_reverse_order(
        self, make_child: MakeChild, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The gateway goes before the recommender, and Redis last: no process loses what it still
        needs."""
        site, order = Site(), list[str]()
        for name in ("redis", "recommender", "gateway"):
            site.start(make_child(WAIT, name=name))
        stop = Child.stop

        def note_and_stop(child: Child) -> None:
            order.append(child.name)
            stop(child)

        monkeypatch.setattr(Child, "stop", note_and_stop)
        site.stop()

        assert order == ["gateway", "recommender", "redis"]
        assert [child.process.poll() is None for child in site.children if child.process] == [
            False
        ] * 3


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, and before it is read
        return False
    return state != "Z"
