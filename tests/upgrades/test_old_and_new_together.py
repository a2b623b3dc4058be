"""During an upgrade workers of both versions run side by side, on one database and one Redis.

The programs of the version before lie beside the site that they made: a clone without history has
them too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.lab.servers import free_port, spawn, start_redis, wait_until
from tests.lab.sites import PATIENT, TIDINGS, Reader, start_site
from tests.upgrades.test_sites_of_before import SITES, Earlier
from tidings.process.asking import answers_ready

NEWEST = sorted(path.name for path in SITES.iterdir())[-1]
pytestmark = pytest.mark.long


def unpack_programs(name: str, folder: Path) -> Path:
    """The programs of an earlier version, in a folder."""
    with tarfile.open(SITES / name / "programs.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@contextmanager
def old_workers(tree: Path, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A gateway and a recommender of the version before."""
    variables = os.environ | environment | {"PYTHONPATH": f"{tree}:{tree / 'gen-py'}"}
    log = (folder / "old.log").open("wb")
    children = [
        spawn([sys.executable, "-m", module], cwd=folder, env=variables, stdout=log, stderr=log)
        for module in ("services.recommender", "gateway")
    ]
    try:
        for name in ("RECOMMENDER", "GATEWAY"):
            bind = environment[f"TIDINGS_{name}_METRICS_BIND"]
            wait_until(partial(answers_ready, bind), 30, f"the old {name.lower()}")
        yield
        assert [child.poll() for child in children] == [None, None], "an old worker has ended"
    finally:
        for child in children:
            child.kill()
            child.wait()
        log.close()


def first_track(browser: Reader) -> dict[str, str]:
    """The tokens of the first card of a fresh page."""
    track: dict[str, str] = browser.get("/articles").json["results"][0]["track"]
    return track


def test_a_reader_is_served_by_both_versions_as_by_one(tmp_path: Path) -> None:
    """Whichever version answers, no article comes twice, and history is the same; what one hides,
    the other hides at once."""
    earlier = Earlier(NEWEST, tmp_path)
    tree = unpack_programs(NEWEST, tmp_path / "old")
    names = ("gateway", "gateway_metrics", "recommender", "recommender_metrics")
    binds = {name: f"127.0.0.1:{free_port()}" for name in names}
    with start_redis() as redis:
        environment = {f"TIDINGS_{name.upper()}_BIND": bind for name, bind in binds.items()} | {
            "TIDINGS_REDIS_URL": redis.url,
            "TIDINGS_RECOMMENDER_ENDPOINTS": binds["recommender"],
            "TIDINGS_VAR_DIR": str(earlier.folder / "var"),
            "TIDINGS_DATABASE_URL": f"sqlite:///{tmp_path}/var/tidings.db",
        }
        environment |= {f"TIDINGS_{name.upper()}": str(PATIENT[name]) for name in PATIENT}
        with (
            old_workers(tree, tmp_path, environment),
            start_site(tmp_path, "--no-demo", redis_url=redis.url, **PATIENT) as site,
        ):
            site.wait_until_ready()
            old, new = Reader(f"http://{binds['gateway']}"), site.reader()
            new.get("/articles")
            old.keep_cookie("tidings_reader", new.cookie("tidings_reader"))

            shown: list[list[int]] = []
            for browser in (old, new, old, new):
                feed = browser.get("/articles?article_num=8").json
                assert feed["served_from"] == "personal"
                shown.append([card["article_id"] for card in feed["results"]])
            flat = [id_ for ids in shown for id_ in ids]
            assert len(flat) == len(set(flat)) == 32
            for browser in (old, new):
                page = browser.get(f"/articles?time_stamp={feed['pre_timestamp']}").json
                assert [card["article_id"] for card in page["results"]] == shown[-2]

            hidden = flat[0]
            assert {browser.get(f"/articles/{hidden}").status for browser in (old, new)} == {200}
            subprocess.run(
                [str(TIDINGS), "articles", "take-down", str(hidden)],
                env=site.environment,
                cwd=tmp_path,
                check=True,
            )
            assert {browser.get(f"/articles/{hidden}").status for browser in (old, new)} == {404}

            # A token of the old version, which a recommender issues until the last gateway is new.
            token = first_track(old)["click"]
            for browser, of_whom in ((old, token), (new, token), (new, first_track(new)["click"])):
                answer = browser.send("POST", "/behaviors", {"events": [{"track": of_whom}]})
                assert json.loads(answer.body)["results"] == [{"verdict": "accepted"}]
