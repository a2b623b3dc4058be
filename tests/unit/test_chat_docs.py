"""docs/chat.md, the schemas beside it and every client tell what the code does: frames, close
codes, codes of errors."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from services.chat.closing import Closing, Comeback
from tests.lab.servers import find_program
from tidings.talk.errors import TalkError

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "chat.md").read_text()
SCHEMAS = json.loads((ROOT / "docs" / "chat-frames.schema.json").read_text())
CLIENTS, SERVERS = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMEBACKS = {
    Comeback.NEVER: "do not",
    Comeback.LATER: "reconnect",
    Comeback.ANEW: "reconnect",
}
RULES = {closing.code: COMEBACKS[closing.comeback] == "reconnect" for closing in Closing}


def validator(direction: str) -> jsonschema.Draft202012Validator:
    """Of frames in one direction."""
    return jsonschema.Draft202012Validator(SCHEMAS | {"anyOf": [{"$ref": f"#/$defs/{direction}"}]})


def types(direction: str) -> set[str]:
    """The types of all frames in one direction."""
    places = [option["$ref"].split("/")[-1] for option in SCHEMAS["$defs"][direction]["oneOf"]]
    return {SCHEMAS["$defs"][place]["properties"]["type"]["enum"][0] for place in places}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_schemas_are_those_of_the_structs() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "chat-schemas"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == SCHEMAS, (
        "scripts/chat-schemas > docs/chat-frames.schema.json makes them anew"
    )


@pytest.mark.parametrize(
    ("direction", "examples"), [("FromClient", CLIENTS), ("FromServer", SERVERS)]
)
def test_each_frame_has_an_example_that_its_schema_takes(direction: str, examples: str) -> None:
    frames: list[dict[str, Any]] = [json.loads(line) for line in examples.splitlines()]

    for frame in frames:
        validator(direction).validate(frame)
    assert {frame["type"] for frame in frames} == types(direction)
    assert all(f"`{type_}`" in PAGE for type_ in types(direction))


def test_the_schemas_refuse_what_is_no_frame() -> None:
    for frame in ({"type": "fly"}, {"type": "ping", "loud": True}, {"type": "send", "cid": "c"}):
        with pytest.raises(jsonschema.ValidationError):
            validator("FromClient").validate(frame)


def test_the_close_codes_are_those_of_the_server() -> None:
    told = [[str(each.code), each.meaning, COMEBACKS[each.comeback]] for each in Closing]

    assert rows("### Close codes") == told


def test_the_codes_of_errors_are_those_of_the_rules() -> None:
    told = {row[0].strip("`") for row in rows("### Codes of errors")}

    assert told == {rule.code for rule in TalkError.__subclasses__()} | {"unavailable"}


def test_the_page_comes_back_after_the_codes_of_the_table() -> None:
    """`1006` is a browser's own word for a connection that ended without one."""
    script = (
        "import { closingCodes } from './tidings/web/reader/chat_closing.js';"
        "console.log(JSON.stringify(closingCodes()));"
    )
    done = subprocess.run(
        [find_program("node"), "--input-type=module", "--eval", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    codes = json.loads(done.stdout)
    known = dict.fromkeys(codes["again"], True) | dict.fromkeys(codes["never"], False)
    assert known == RULES | {1006: True}


def test_the_python_client_comes_back_after_the_codes_of_the_table() -> None:
    client = runpy.run_path(str(ROOT / "examples" / "python" / "chat.py"))

    assert {code: client["comes_back"](code) for code in RULES} == RULES
    assert client["comes_back"](1006)
    assert all(client["back_off_s"](attempt) <= 2**attempt for attempt in range(5))
