"""What checks a change elsewhere than here is read by other programs; these tests read it first.

Both files only call what stands in the repository, so that there is one place that says what must
hold, and it can be run on any machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def recipe(target: str) -> str:
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, target
    return found[1].replace("$(BIN)", ".venv/bin")


def test_the_workflow_only_calls_what_must_hold() -> None:
    """A step with a command of its own could not be run, or mended, on one's own machine."""
    jobs = read(".github/workflows/ci.yml")["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    uses = {step["uses"].partition("@")[0] for step in steps if "uses" in step}

    assert runs == [".ci/run"]
    assert uses == {"actions/checkout", "actions/setup-python"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_workflow_runs_on_every_python_that_the_readme_names() -> None:
    (job,) = read(".github/workflows/ci.yml")["jobs"].values()
    named = re.search(r"Python ([\d., or]+?) is enough", (ROOT / "README.md").read_text())

    assert named
    assert job["strategy"]["matrix"]["python"] == re.findall(r"3\.\d+", named[1])


def hooks() -> list[dict[str, Any]]:
    repos = read(".pre-commit-config.yaml")["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}
    return [hook for repo in repos for hook in repo["hooks"]]


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: str(hook["id"]))
def test_a_hook_is_a_command_of_make_lint_or_make_types(hook: dict[str, Any]) -> None:
    """The hooks and `make lint types` can only disagree about which files they look at."""
    assert hook["language"] == "system"
    assert hook["entry"].replace(" --force-exclude", "") in recipe("lint") + recipe("types")


def test_what_make_lint_does_is_done_before_a_commit() -> None:
    """A commit that passes its hooks does not fail there."""
    commands = [re.sub(r"^@?|( \.)$", "", line.strip()) for line in recipe("lint").splitlines()]
    entries = {hook["entry"].replace(" --force-exclude", "") for hook in hooks()}

    assert set(commands) - entries == set()
