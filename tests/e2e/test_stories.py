"""Every page of the documentation is a story: its shell blocks are typed one after the other, as a
reader of the page would, beside a site of the page's own.

Run, and not only checked for names as in tests/unit/test_docs.py: a page whose commands exist may
still order a product that it has just withdrawn. Two comments, which no renderer shows, stand
before a block where they are needed:

    <!-- run with FILE=printf '{"title": "One"}\\n' > one.jsonl; echo one.jsonl -->
    <!-- not run: it takes the whole suite -->
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.servers import RedisServer, free_port
from tests.lab.sites import PATIENT, TIDINGS, start_site

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    # Eight compilers build the one's clients in tests/integration/test_examples.py; the other needs
    # feeds, a restart and a browser: tests/e2e/test_first_site.py follows it.
    if page.exists() and page.name not in {"thrift-clients.md", "first-site.md"}
]
SHELL = ("sh", "bash", "shell")
BLOCK = re.compile(r"((?:^<!-- .*? -->\n+)*)^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!-- (not run:|run with) (.*?) -->", re.DOTALL)
STORY_TIMEOUT_S = 480
MOST_NOT_RUN = 14
# What is typed has to succeed; curl takes a 4xx for a success unless it is told.
PROLOGUE = """
set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body "$@"; echo; }
export -f curl
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page, and what its comments say."""

    text: str
    values: dict[str, str]
    why_not_run: str = ""


def read_story(page: str) -> list[Block]:
    """The shell blocks of a page, in order.

    Raises:
        ValueError: a comment gives no value, or no reason.
    """
    story = []
    for comments, language, text in BLOCK.findall(page):
        values, why = {}, ""
        for kind, said in COMMENT.findall(comments):
            if kind == "not run:":
                why = said.strip()
                continue
            name, is_there, command = said.partition("=")
            if not is_there:
                raise ValueError(f"<!-- run with {said} --> gives no value")
            values[name.strip()] = command.strip()
        if language in SHELL:
            story.append(Block(text, values, why))
    return story


def fill_in(text: str, name: str) -> str:
    """A block that reads a variable where the page has a word for the reader's own value."""
    filled, is_quoted = "", False
    for part in re.split(rf"('|\b{name}\b)", text):
        is_quoted ^= part == "'"
        filled += (f"'\"${name}\"'" if is_quoted else f'"${name}"') if part == name else part
    return filled


def make_script(story: list[Block]) -> str:
    """One shell runs the whole page, so that what was exported or changed stays."""
    script = PROLOGUE
    for block in story:
        if block.why_not_run:
            continue
        text = block.text
        for name, command in block.values.items():
            script += f"{name}=$({command})\n"
            text = fill_in(text, name)
        script += f"set -v\n{text}{{ (exit $?); set +v; }} 2>/dev/null\n"
    return script


def lay_out(folder: Path) -> None:
    """What a clone has, but for its data."""
    for entry in ROOT.iterdir():
        if entry.name not in {"var", ".env", ".git", ".venv"}:
            (folder / entry.name).symlink_to(entry)
    (folder / ".venv").symlink_to(TIDINGS.parent.parent)


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_can_be_followed_in_order(
    page: Path, tmp_path: Path, redis_server: RedisServer, redis_url: str
) -> None:
    """Every command of it does what the page says it is for, or at least succeeds."""
    script = make_script(read_story(page.read_text()))
    if script == PROLOGUE:
        return
    lay_out(tmp_path)
    # As docs/jobs.md says, whose reader pays an order: it must not have expired by then.
    bind = f"127.0.0.1:{free_port()}"
    with start_site(
        tmp_path,
        redis_url=redis_url,
        gateway_bind=bind,
        site_url=f"http://{bind}",
        order_timeout_s=600,
        payment_provider="sandbox",
        **PATIENT,
    ) as site:
        site.wait_until_ready()
        script = script.replace("127.0.0.1:8000", site.settings.gateway.bind)
        script = script.replace("127.0.0.1:9090", site.settings.recommender.bind)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=site.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STORY_TIMEOUT_S,
            check=False,
        )

    assert done.returncode == 0, done.stdout[-4000:]


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = [
        block.why_not_run
        for page in PAGES
        for block in read_story(page.read_text())
        if block.why_not_run
    ]

    assert len(left_out) <= MOST_NOT_RUN
    assert all(len(why.split()) >= 3 for why in left_out)


def test_a_story_that_goes_wrong_would_be_noticed(tmp_path: Path) -> None:
    """The test above tests something: a command that fails in the middle, a refused request."""
    page = """
<!-- run with FILE=echo there > one; echo one -->
```sh
cat FILE && echo 'say "FILE"' > said
```

<!-- not run: it would end the machine -->
```sh
poweroff
```

```sh
false
touch after
```
"""
    story = read_story(page)
    done = subprocess.run(["bash", "-c", make_script(story)], cwd=tmp_path, check=False)

    assert [bool(block.why_not_run) for block in story] == [False, True, False]
    assert done.returncode == 1
    assert (tmp_path / "said").read_text() == 'say "one"\n'
    assert not (tmp_path / "after").exists()
