"""A disk that is full stops writing, and never reading."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.lab.servers import wait_until
from tests.lab.sites import PATIENT, TIDINGS, Reader, Site, start_site

DISK = "24m"


def fill(disk: Path) -> Path:
    """Take every last byte; returns the file to delete."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 512, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    return ballast


def click_first(reader: Reader) -> int:
    """The status of reporting a click on the first article of a feed."""
    card = reader.get("/articles?channel_id=0").json["results"][0]
    event = {"track": card["track"]["click"]}
    return reader.send("POST", "/behaviors", {"events": [event]}).status


@pytest.mark.long
def test_readers_go_on_reading_while_the_disk_is_full_and_all_is_well_once_it_is_not(
    tmp_path: Path,
) -> None:
    """Trap: metrics in mapped files on a full disk killed every worker by SIGBUS. Feeds and
    articles are answered, also to new readers; a behaviour gets a clear 503; the loops of the
    daemon go on, and nothing prints a traceback."""
    var_dir = tmp_path / "var"
    var_dir.mkdir()
    # A mount of the site's own, which goes with it.
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = f"mount -t tmpfs -o size={DISK} tmpfs {var_dir} && exec {TIDINGS} up"
    command = ["unshare", *as_root, "--mount", "sh", "-c", script]
    with start_site(tmp_path, command=command, var_dir=var_dir, **PATIENT) as site:
        site.wait_until_ready()
        wait_until(lambda: '"pages_followed"' in site.output, 60, "the static pages")
        disk = Path(f"/proc/{site.process.pid}/root{var_dir}")
        reader = site.reader()
        assert click_first(reader) == 202
        pids = processes(site)
        ballast = fill(disk)
        wait_until(lambda: click_first(reader) == 503, 30, "the disk to be full for Redis too")
        until_a_minute_has_begun()
        feeds = [site.reader().get("/articles?channel_id=0") for _ in range(20)]
        feeds += [reader.get("/articles?channel_id=0") for _ in range(20)]
        article_id = feeds[-1].json["results"][0]["article_id"]
        article = reader.get(f"/articles/{article_id}")
        problem = click_problem(reader)
        assert processes(site) >= pids
        ballast.unlink()
        wait_until(lambda: click_first(site.reader()) == 202, 30, "writing to go on")
        wait_until(
            lambda: reader.get("/articles?channel_id=0").json["served_from"] == "personal",
            30,
            "the feed to be personal again",
        )
        assert site.stop() == 0

    assert {feed.status for feed in feeds} == {200}
    assert all(feed.json["results"] for feed in feeds)
    assert article.status == 200
    assert problem["status"] == 503
    assert problem["detail"]
    assert "Traceback" not in site.output


def click_problem(reader: Reader) -> dict[str, object]:
    """What a reader is told whose click cannot be kept."""
    card = reader.get("/articles?channel_id=0").json["results"][0]
    answer = reader.send("POST", "/behaviors", {"events": [{"track": card["track"]["click"]}]})
    problem: dict[str, object] = answer.json
    return problem


def processes(site: Site) -> set[int]:
    """The processes of the site, none of which may die; a training ends by itself."""
    return {process.pid for process, command in site.commands().items() if "train" not in command}


def until_a_minute_has_begun() -> None:
    """The daemon has its jobs of each minute to do on the full disk: wait for the next minute and
    their time."""
    time.sleep(60 - time.time() % 60 + 3)
