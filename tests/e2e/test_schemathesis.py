"""Every operation of a running site as Schemathesis makes it up from `/openapi.json`: what fits the
description, what just does not, and chains of requests. No answer may be a defect, or one that is
not described.

Seeded and bounded, about a minute; `FULL=1` asks each operation thousands of times.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import StartSite
from tests.lab.sites import TIDINGS, Site

CONFIG = Path(__file__).with_name("schemathesis.toml")
IS_FULL = bool(os.environ.get("FULL"))
EXAMPLES = 5000 if IS_FULL else 25
TIMEOUT_S = None if IS_FULL else 900
# Every path with a method that needs a role, and what readers are shown there.
OF_STAFF = (
    r"^/(operator/.*|sources.*|images|articles(/[^/]+)?|channels(/[^/.]+)?"
    r"|.*/(submission|review|publication|take-down|restoration|merge))$"
)
# No operation of staff leads to another.
NO_LINKS = ("--phases", "coverage,fuzzing")


def ask(
    site: Site, folder: Path, header: str, *options: str, description: str = "/openapi.json"
) -> str:
    """What Schemathesis says in the end, after finding nothing.

    Args:
        description: where it is, for a door that is not the gateway's.
    """
    url = description if description.startswith("http") else f"{site.url}{description}"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIG, "run"),
            *(url, "--seed", "10", "--no-color", "--continue-on-failure"),
            *("--max-examples", str(EXAMPLES), "--generation-database", "none"),
            *("--header", header, *options),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(0 if IS_FULL else 2000)
def test_no_answer_is_a_defect_or_undescribed(new_site: StartSite, tmp_path: Path) -> None:
    with new_site(payment_provider="sandbox") as site:
        site.wait_until_ready()
        visitor = site.reader()
        operations = visitor.get("/openapi.json").json["paths"].values()
        # One reader throughout, or no order could be read by the one who placed it.
        reader = visitor.get("/articles").headers["X-Reader"]

        said = ask(site, tmp_path, f"X-Reader: {reader}")

        assert re.search(rf"Tested: {sum(map(len, operations))}\n", said), said
        assert "Traceback" not in site.output


@pytest.mark.long
@pytest.mark.timeout(0 if IS_FULL else 2000)
def test_no_answer_to_staff_is_a_defect_or_undescribed(new_site: StartSite, tmp_path: Path) -> None:
    """An operator, who may do everything, does it on a site with the demo's articles."""
    with new_site() as site:
        site.wait_until_ready()
        made = subprocess.run(
            [TIDINGS, "keys", "add", "desk", "--role", "operator"],
            env=site.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        bearer = f"Authorization: Bearer {made.stdout.strip()}"

        ask(site, tmp_path, bearer, "--include-path-regex", OF_STAFF, *NO_LINKS)

        assert "Traceback" not in site.output


@pytest.mark.long
@pytest.mark.timeout(0 if IS_FULL else 2000)
def test_no_answer_of_the_chat_is_a_defect_or_undescribed(
    new_site: StartSite, tmp_path: Path
) -> None:
    with new_site() as site:
        site.wait_until_ready()
        chat = f"http://{site.settings.chat.bind}"
        visitor = site.reader()
        # Of one reader, or none of the conversations that are started could be read.
        reader = visitor.get("/articles").headers["X-Reader"]
        with urllib.request.urlopen(f"{chat}/chat/openapi.json") as answer:
            operations = json.load(answer)["paths"].values()

        said = ask(
            site,
            tmp_path,
            f"X-Reader: {reader}",
            # A stream does not end by itself; tests/integration/chat/test_telling.py reads it.
            *("--url", chat, "--exclude-path", "/events"),
            description=f"{chat}/chat/openapi.json",
        )

        assert re.search(rf"Tested: {sum(map(len, operations)) - 1}\n", said), said
        assert "Traceback" not in site.output
