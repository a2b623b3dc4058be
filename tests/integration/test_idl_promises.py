"""The Thrift compiler's own word on the contract: `make gen-check` and `make idl-audit`, and what
they catch."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.servers import find_program

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _compiler() -> None:
    find_program("thrift")


@pytest.fixture
def idl(tmp_path: Path) -> Path:
    """A copy of idl/, to break."""
    return Path(shutil.copytree(ROOT / "idl", tmp_path / "idl"))


def audit(idl: Path) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "audit-idl"), str(idl)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_contract_keeps_every_promise_of_the_last_release(idl: Path) -> None:
    done = audit(idl)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("recommend", "  5: string liking\n", ""),
        ("recommend", "5: string liking", "7: string liking"),
        ("recommend", "5: string liking", "5: i32 liking"),
        ("recommend", "5: string liking", "5: string loving"),
        ("recommend", "5: string liking", "5: string liking\n  3: string share"),
        ("recommend", "EXPIRED = 3", "EXPIRED = 4"),
        ("recommend", "ArticleResponse user_recommend", "Article user_recommend"),
        (
            "recommend",
            "user_recommend(1: UserRequest request)",
            "user_recommend(1: ReportRequest request)",
        ),
        ("recommend", "UserRecommend extends base.BaseService", "UserRecommend"),
        ("base", "1: i32 code", "1: i64 code"),
        ("base", "bool is_healthy", "bool healthy"),
    ],
    ids=[
        "field removed",
        "field renumbered",
        "type changed",
        "field renamed",
        "retired number used again",
        "enum value changed",
        "return type changed",
        "argument type changed",
        "service extends another",
        "type changed in an included file",
        "method renamed",
    ],
)
def test_what_would_break_a_caller_fails_the_audit(
    idl: Path, file: str, old: str, new: str
) -> None:
    """Callers in other languages were generated from the released files; they cannot be recompiled
    from here."""
    path = idl / f"{file}.thrift"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    done = audit(idl)

    assert done.returncode == 1
    assert "[Thrift Audit" in done.stderr


def test_a_new_field_with_a_new_number_passes_the_audit(idl: Path) -> None:
    """Which is how the contract grows."""
    path = idl / "recommend.thrift"
    path.write_text(
        path.read_text().replace("6: string dislike", "6: string dislike\n  7: string hide")
    )

    done = audit(idl)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_committed_code_is_what_the_contract_generates(tmp_path: Path) -> None:
    """An edit in gen-py/, a forgotten `make gen` and another compiler are noticed."""
    subprocess.run([str(ROOT / "scripts" / "generate-idl"), str(tmp_path)], check=True, timeout=60)

    def python_files(folder: Path) -> dict[Path, str]:
        return {
            path.relative_to(folder): path.read_text()
            for path in folder.rglob("*")
            if path.suffix == ".py"
        }

    fresh = python_files(tmp_path)
    assert fresh
    assert python_files(ROOT / "gen-py") == fresh
