"""Structs that the C codec can make without a call into Python, for the lean path.

A third of what decoding costs is the generated `__init__`, run once for each struct to put `None`
into fields which the codec then fills. A subclass without it is made in C; a field that did not
come is answered with its default when it is asked for. It is its parent in all that shows: equal to
the same values, printed, copied and pickled as them.

    decode_binary(arguments, protocol, quick(UserRequest))
"""

from __future__ import annotations

from typing import Any

from thrift.Thrift import TType

_PLAIN = (int, str, float, bool, bytes, type(None))
_quick: dict[type, list[Any]] = {}


def quick(kind: type) -> list[Any]:
    """What the codec is told about a struct: `[class, specification]`, with quick classes wherever
    they will do."""
    if kind not in _quick:
        _quick[kind] = [kind, kind.thrift_spec]  # type: ignore[attr-defined]  # for a struct that holds its own kind
        spec = _quick_spec(kind)
        _quick[kind] = [_quick_class(kind) if _is_plain(kind) else kind, spec]
    return _quick[kind]


def _quick_spec(kind: Any) -> tuple[Any, ...]:
    return tuple(
        None if field is None else (*field[:3], _quick_type(field[1], field[3]), field[4])
        for field in kind.thrift_spec
    )


def _quick_type(kind: int, argument: Any) -> Any:
    if kind == TType.STRUCT:
        return quick(argument[0])
    if kind in (TType.LIST, TType.SET):
        element, of, *rest = argument
        return (element, _quick_type(element, of), *rest)
    return argument


def _is_plain(kind: Any) -> bool:
    """Generated, not an exception, and without a default that each instance needs a copy of."""
    fields = [field for field in kind.thrift_spec if field is not None]
    return kind.__bases__ == (object,) and all(isinstance(field[4], _PLAIN) for field in fields)


def _quick_class(kind: Any) -> type:
    names = [field[2] for field in kind.thrift_spec if field is not None]
    defaults = {field[2]: field[4] for field in kind.thrift_spec if field is not None}

    def absent(self: Any, name: str) -> Any:
        if name in defaults:
            return defaults[name]
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")

    def equal(self: Any, other: object) -> Any:
        return (
            NotImplemented
            if not isinstance(other, kind)
            else _values(self, names) == _values(other, names)
        )

    def reduced(self: Any) -> Any:
        return kind, tuple(_values(self, names))

    made: Any = type(
        kind.__name__,
        (kind,),
        {
            "__slots__": (),
            "__module__": kind.__module__,
            "__doc__": kind.__doc__,
            "__init__": object.__init__,
            "__getattr__": absent,
            "__eq__": equal,
            "__ne__": object.__ne__,
            "__reduce__": reduced,
        },
    )
    made.__slots__ = kind.__slots__  # what the generated `__repr__` goes by
    checked: type = made
    return checked


def _values(struct: Any, names: list[str]) -> list[Any]:
    return [getattr(struct, name) for name in names]
