"""The one table of Redis keys: what each looks like, and that operators can read of it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.lab.redis_keys import largest, longest_ttl_s, matches
from tidings.store.keys import (
    BEHAVIOUR_FLOORS,
    BEHAVIOUR_LOG,
    BEHAVIOUR_WAITING,
    BUS,
    BUS_EPOCH,
    HISTORY,
    KEYS,
    LIMITS_OF_ADDRESS,
    LIMITS_OF_KEY,
    LIMITS_OF_READER,
    SEEN,
    Key,
)

ROOT = Path(__file__).parent.parent.parent.parent
MODULES = [
    path
    for package in ("tidings", "gateway", "services", "jobs")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "keys.py"
]


def ids(key: Key) -> str:
    return key.shape


def test_shapes_in_use_do_not_change() -> None:
    """Trap: what readers left behind under the old shape would be lost, without any error."""
    assert [key.shape for key in KEYS] == [
        "t2:{<reader>}:reader",
        "t1:{<reader>}:version",
        "t1:{<reader>}:seen",
        "t1:{<reader>}:history:<channel>",
        "t1:popular:<channel>",
        "t1:behaviour",
        "t2:{behaviour}:log",
        "t2:{behaviour}:waiting",
        "t2:{behaviour}:floors",
        "t1:behaviour:dead",
        "t1:card:<article>",
        "t1:page:<article>",
        "t1:{limits}:reader:<reader>",
        "t1:{limits}:key:<key>",
        "t1:{limits}:address:<network>",
        "t1:ticket:<ticket>",
        "t1:{talk}:bus",
        "t1:{talk}:epoch",
        "t1:{<reader>}:here",
        "t1:{<reader>}:watched",
        "t1:jobs:due",
    ]


def test_a_key_has_its_numbers_in_its_places() -> None:
    assert SEEN.of(7) == "t1:{7}:seen"
    assert HISTORY.of(2**52, 10) == "t1:{4503599627370496}:history:10"


@pytest.mark.parametrize("key", KEYS, ids=ids)
def test_keys_of_one_reader_or_one_script_share_a_hash_tag_and_others_stand_alone(key: Key) -> None:
    """In a Cluster one script may touch several keys only if their tags are the same."""
    of_the_log = dict.fromkeys((BEHAVIOUR_LOG, BEHAVIOUR_WAITING, BEHAVIOUR_FLOORS), "behaviour")
    of_limits = dict.fromkeys((LIMITS_OF_READER, LIMITS_OF_KEY, LIMITS_OF_ADDRESS), "limits")
    of_the_bus = dict.fromkeys((BUS, BUS_EPOCH), "talk")
    tag = (of_the_log | of_limits | of_the_bus).get(key) or (
        "<reader>" if "<reader>" in key.shape else ""
    )
    assert re.findall(r"{(.*?)}", key.shape) == ([tag] if tag else [])


@pytest.mark.parametrize("key", KEYS, ids=ids)
def test_a_key_is_one_of_its_own_kind_only(key: Key) -> None:
    one = key.of(*range(1, key.shape.count("<") + 1))

    assert [other for other in KEYS if matches(other, one)] == [key]


@pytest.mark.parametrize("key", [key for key in KEYS if key.kind != "channel"], ids=ids)
def test_what_has_no_end_in_time_has_one_in_size(key: Key) -> None:
    values = {"READER_TTL_DAYS": 30, "CARD_TTL_S": 300, "GATEWAY_LIMIT_WINDOW_S": 60}

    # A stream is bounded by what fills it; three small keys belong to one.
    of_streams = (BEHAVIOUR_WAITING, BEHAVIOUR_FLOORS, BUS_EPOCH)
    has_no_end = key.kind == "stream" or key in of_streams
    assert longest_ttl_s(key, lambda name: values[name]) or has_no_end
    assert largest(key, lambda _name: 1) > 0


def test_the_unit_of_a_setting_is_its_last_word() -> None:
    assert longest_ttl_s(SEEN, lambda name: {"READER_TTL_DAYS": 30}[name]) == 30 * 24 * 3600


@pytest.mark.parametrize("key", KEYS, ids=ids)
def test_operators_can_read_of_every_key(key: Key) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{key.shape}` |")]

    assert key.holds in line
    for setting in filter(None, (key.ttl_setting, key.most_setting)):
        assert f"`TIDINGS_{setting}`" in line


def test_no_other_module_spells_a_key() -> None:
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"t[0-9]+:", node.value)
    ]

    assert spelled == []
