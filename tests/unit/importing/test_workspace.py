"""The files beside an import: what was refused and how far it came."""

from __future__ import annotations

import json
from pathlib import Path

from tidings.importing.report import Counts
from tidings.importing.rows import Place, Reject
from tidings.importing.workspace import Workspace, open_workspace

REJECT = Reject(Place(line=3), "title: missing", {"id": 1})


def reject_lines(workspace: Workspace) -> list[object]:
    return [json.loads(line) for line in workspace.rejects_path.read_text().splitlines()]


def test_a_reject_says_where_why_and_what(tmp_path: Path) -> None:
    """One JSON object a line; the row can be cut out, mended and imported."""
    with open_workspace(tmp_path, "a.jsonl") as workspace:
        workspace.begin()
        workspace.add_reject(REJECT)
        workspace.add_reject(
            Reject(Place(entry=2, feed="https://x.example/"), "no", "bytes \udcff")
        )
    assert workspace.rejects_path == tmp_path / "a.jsonl.rejects.jsonl"
    assert reject_lines(workspace) == [
        {"line": 3, "reason": "title: missing", "row": {"id": 1}},
        {"entry": 2, "feed": "https://x.example/", "reason": "no", "row": "bytes \udcff"},
    ]


def test_without_rejects_there_is_no_reject_file(tmp_path: Path) -> None:
    """Also none of an earlier import."""
    (tmp_path / "a.rejects.jsonl").write_text("{}\n")
    with open_workspace(tmp_path, "a") as workspace:
        workspace.begin()
    assert not workspace.rejects_path.exists()


def test_a_checkpoint_takes_rejects_back_to_where_it_was(tmp_path: Path) -> None:
    """What was written after it will be written again."""
    with open_workspace(tmp_path, "a") as workspace:
        workspace.begin()
        workspace.add_reject(REJECT)
        workspace.save_checkpoint("this", Counts(created=1, rejected=1), "id")
        workspace.add_reject(REJECT)
    with open_workspace(tmp_path, "a") as workspace:
        checkpoint = workspace.read_checkpoint("this")
        assert checkpoint is not None
        assert (checkpoint.counts, checkpoint.witness) == (Counts(created=1, rejected=1), "id")
        workspace.begin(checkpoint.rejects_bytes)
    assert len(reject_lines(workspace)) == 1


def test_a_checkpoint_counts_only_for_what_it_was_made_of(tmp_path: Path) -> None:
    """Another file, another database, a reject file that was removed, or half a checkpoint: begin
    anew."""
    with open_workspace(tmp_path, "a") as workspace:
        workspace.begin()
        workspace.add_reject(REJECT)
        workspace.save_checkpoint("this", Counts(rejected=1), "")
        assert workspace.read_checkpoint("that") is None
    workspace.rejects_path.unlink()
    with open_workspace(tmp_path, "a") as workspace:
        assert workspace.read_checkpoint("this") is None
        (tmp_path / ".a.checkpoint").write_text('{"of": "th')
        assert workspace.read_checkpoint("this") is None


def test_a_finished_import_leaves_no_checkpoint(tmp_path: Path) -> None:
    """The next run looks at every row."""
    with open_workspace(tmp_path, "a") as workspace:
        workspace.begin()
        workspace.save_checkpoint("this", Counts(), "")
        workspace.finish()
        assert workspace.read_checkpoint("this") is None


def test_two_imports_of_one_name_do_not_share_files(tmp_path: Path) -> None:
    """The second takes the next name; once the first has ended, its name is free again."""
    with open_workspace(tmp_path, "a") as first, open_workspace(tmp_path, "a") as second:
        assert first.rejects_path != second.rejects_path
    with open_workspace(tmp_path, "a") as third:
        assert third.rejects_path == first.rejects_path
