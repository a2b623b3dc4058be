"""The generated contract: everything imports, travels through every codec, and breaks no promise
made before."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocol, TCompactProtocolAccelerated
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

import tidings_idl
from tidings_idl.base.BaseService import is_healthy_args
from tidings_idl.base.ttypes import Error, HealthProbe
from tidings_idl.recommend.ttypes import ReportResponse, Track, UserRequest, Verdict

IDL = Path(__file__).parent.parent.parent / "idl"
INT_BITS = {TType.BYTE: 8, TType.I16: 16, TType.I32: 32, TType.I64: 64}
RETIRED: dict[Any, dict[int, str]] = {Track: {3: "share"}}
ENUM_FIELDS: dict[tuple[type, str], type[IntEnum]] = {
    (is_healthy_args, "probe"): HealthProbe,
    (ReportResponse, "verdicts"): Verdict,
}


def _modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(tidings_idl.__path__, "tidings_idl.")
    return [importlib.import_module(module.name) for module in found]


def _structs() -> list[type]:
    """Every struct and exception, and the argument and result structs of every method."""
    candidates = [
        value for module in _modules() for value in vars(module).values() if isinstance(value, type)
    ]
    return sorted(
        {value for value in candidates if "thrift_spec" in vars(value)},
        key=lambda struct: struct.__name__,
    )


STRUCTS = _structs()


def _values(ttype: int, spec: Any, of_enum: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Any value of a Thrift type; `spec` is what generated code says of its elements."""
    if ttype == TType.I32 and of_enum:
        return st.sampled_from(of_enum)
    if ttype in INT_BITS:
        limit = 1 << (INT_BITS[ttype] - 1)
        return st.integers(-limit, limit - 1)
    if ttype == TType.STRUCT:
        return _instances(spec[0])
    if ttype in (TType.LIST, TType.SET):
        return st.lists(_values(spec[0], spec[1], of_enum), max_size=3)
    if ttype == TType.MAP:
        return st.dictionaries(
            _values(spec[0], spec[1], ()), _values(spec[2], spec[3], ()), max_size=3
        )
    plain: dict[int, st.SearchStrategy[Any]] = {
        TType.BOOL: st.booleans(),
        TType.DOUBLE: st.floats(allow_nan=False),
        TType.STRING: st.text(max_size=20),
    }
    return plain[ttype]


def _instances(struct: Any) -> st.SearchStrategy[Any]:
    """Any value of a struct, each field absent or not; a field with a default is there, or decoding
    would add it."""
    fields = {}
    for _, ttype, name, spec, default in filter(None, struct.thrift_spec):
        enum = ENUM_FIELDS.get((struct, name), ())
        values = _values(ttype, spec, [int(member) for member in enum])
        fields[name] = values if default is not None else st.none() | values
    return st.builds(struct, **fields)


def _by_name(value: Any, enum: type[IntEnum] | None = None) -> Any:
    """The same value as the pure codec has it: enums by name. Not `deepcopy`, which empties
    exceptions with slots."""
    if enum is not None and isinstance(value, int):
        return enum(value).name
    if isinstance(value, list):
        return [_by_name(item, enum) for item in value]
    if type(value) in STRUCTS:
        fields = {name: getattr(value, name) for name in _field_names(value)}
        return type(value)(
            **{
                name: _by_name(inner, ENUM_FIELDS.get((type(value), name)))
                for name, inner in fields.items()
            }
        )
    return value


def _encode(value: Any, protocol: Any) -> bytes:
    buffer = TMemoryBuffer()
    value.write(protocol(buffer))
    encoded: bytes = buffer.getvalue()
    return encoded


def _decode(struct: type, encoded: bytes, protocol: Any) -> Any:
    value = struct()
    value.read(protocol(TMemoryBuffer(encoded)))
    return value


def _binary_c(buffer: TMemoryBuffer) -> Any:
    return TBinaryProtocolAccelerated(buffer, fallback=False)


def _compact_c(buffer: TMemoryBuffer) -> Any:
    return TCompactProtocolAccelerated(buffer, fallback=False)


def test_every_generated_module_imports() -> None:
    """Trap: under `py:slots` a field named like a method of its class fails at import."""
    names = {module.__name__ for module in _modules()}

    assert {
        "tidings_idl.base.ttypes",
        "tidings_idl.recommend.ttypes",
        "tidings_idl.recommend.UserRecommend",
    } <= names
    assert {UserRequest, Error} <= set(STRUCTS)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
@pytest.mark.parametrize(
    ("pure", "in_c"),
    [(TBinaryProtocol, _binary_c), (TCompactProtocol, _compact_c)],
    ids=["binary", "compact"],
)
@settings(max_examples=25)
@given(data=st.data())
def test_every_struct_survives_both_codecs_and_they_agree(
    struct: type, pure: Any, in_c: Any, data: st.DataObject
) -> None:
    """Trap: a struct may travel through the C codec and raise in the pure one, which only some
    callers use.

    A second trap shows in `_by_name`: with this compiler's `enum` option the pure codec takes and
    gives an enum's name, the C codec its number. The bytes are the same.
    """
    value = data.draw(_instances(struct))

    encoded = _encode(value, in_c)

    assert _encode(_by_name(value), pure) == encoded
    assert _decode(struct, encoded, in_c) == value
    assert _decode(struct, encoded, pure) == _by_name(value)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_no_field_hides_a_method_of_its_class(struct: type) -> None:
    """Trap: a field named `read` hides `TBase.read`; only the C codec over a buffer still works."""
    assert not {"read", "write", "validate"} & set(_field_names(struct))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_struct_accepts_a_message_with_nothing_in_it(struct: type) -> None:
    """Trap: nothing on the wire enforces `required`, so every reader of a struct must live with
    absent fields."""
    assert _decode(struct, _encode(struct(), _binary_c), _binary_c) == struct()


def test_no_field_is_required() -> None:
    """A promise that no codec keeps is not written down."""
    texts = [
        re.sub(r"/\*.*?\*/|#.*|//.*", "", path.read_text(), flags=re.DOTALL)
        for path in IDL.glob("*.thrift")
    ]

    assert len(texts) >= 2
    assert not [text for text in texts if re.search(r"\brequired\b", text)]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_no_struct_contains_itself(struct: type) -> None:
    """Trap: a deeply nested recursive struct has crashed whole processes inside the C codec."""
    assert struct not in _contained(struct, set())


def test_retired_fields_stay_retired() -> None:
    """`share` was 3 of Track: an old client that still sends it must not be read as something
    else."""
    for struct, retired in RETIRED.items():
        fields = {field[0]: field[2] for field in struct.thrift_spec if field}
        assert not fields.keys() & retired.keys()
        assert not set(fields.values()) & set(retired.values())


def test_an_unknown_field_is_passed_over() -> None:
    """A newer client may send more than this server knows."""
    newer = _encode(Error(code=1, message="m", details={"a": "b"}, retryable=True), TBinaryProtocol)

    # Read as a struct whose fields 2 to 4 have other types: each is skipped, and the rest is read.
    assert _decode(UserRequest, newer, _binary_c) == UserRequest(article_num=10)


def test_an_error_can_be_annotated_and_pass_through_a_context_manager() -> None:
    """Trap: this compiler's exceptions are frozen by default, and Python cannot set their
    traceback."""

    @contextmanager
    def passing() -> Iterator[None]:
        yield

    error = Error(code=404, message="no such article", details={})
    with pytest.raises(Error) as caught, passing():
        raise error
    caught.value.add_note("on the way out")

    assert caught.value is error


def _field_names(struct: Any) -> list[str]:
    return [field[2] for field in struct.thrift_spec if field]


def _contained(struct: Any, seen: set[type]) -> set[type]:
    """Every struct that a value of `struct` can hold, at any depth."""

    def structs_in(spec: Any) -> Iterator[type]:
        if isinstance(spec, type) and "thrift_spec" in vars(spec):
            yield spec
        elif isinstance(spec, list | tuple):
            for part in spec:
                yield from structs_in(part)

    for field in struct.thrift_spec or ():
        for inner in structs_in(field[3]) if field else ():
            if inner not in seen:
                seen.add(inner)
                _contained(inner, seen)
    return seen
