"""Replies that a handler puts together as bytes, without making the structs that would only be
taken apart again.

A page of a feed is ten articles with forty fresh tokens: making their structs and encoding them was
more than half of what the server did for a call. Values come by name, a column for each, and the
names are held against the IDL once, when a program starts: a field that the IDL has and the columns
do not is absent on the wire, as Thrift leaves it to any caller, and a name that the IDL does not
have is an error of that start. Rejected: values by their place, where one more field in the IDL
failed every call; a row of names for each article, which costs a third of a call; keeping encoded
articles from the last call, since tokens belong to one reader and one batch; and a codec of our
own, for what is not made of numbers and strings of one length goes the usual way.

    pages = Pages(ArticleResponse, ["article_id", "click"], string_bytes=68)
    pages.encode(ArticleResponse(exposure), {"article_id": [7, 8], "click": [token, another]})
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

from tidings.rpc.wire.codec import encode_binary

Columns: TypeAlias = Mapping[str, Sequence[int | float | bytes]]

_FIELD = struct.Struct("!bh")
_SIZE = struct.Struct("!i")
_MOST_KEPT = 100
_STOP = b"\0"
_SUCCESS = _FIELD.pack(TType.STRUCT, 0)
_NUMBERS = {TType.BYTE: "b", TType.I16: "h", TType.I32: "i", TType.I64: "q", TType.DOUBLE: "d"}


class Encoded:
    """A struct in the binary protocol. A handler may return it in the place of that struct.

    Attributes:
        kind: the struct's class.
    """

    __slots__ = ("data", "kind")

    def __init__(self, kind: type, data: bytes) -> None:
        self.kind = kind
        self.data = data

    def write(self, protocol: Any) -> None:
        """Write the result struct of the method that returns this."""
        if protocol.is_binary:
            protocol.trans.write(_SUCCESS + self.data + _STOP)
        else:
            protocol.writeStructBegin("result")
            protocol.writeFieldBegin("success", TType.STRUCT, 0)
            self.decoded().write(protocol)
            protocol.writeFieldEnd()
            protocol.writeFieldStop()
            protocol.writeStructEnd()

    def decoded(self) -> Any:
        """The struct itself."""
        made: Any = self.kind()
        made.read(TBinaryProtocolAccelerated(TMemoryBuffer(self.data), fallback=False))
        return made


class Pages:
    """Encodes structs of one kind whose last field is a list of structs; all strings within that
    list have one length.

    Args:
        kind: the outer struct's class.
        fields: the names of the columns, in any order; each is a field of the list's structs, or of
            a struct within.
        string_bytes: the length of each string within the list.

    Raises:
        TypeError: the kind's last field is no such list; or a field has another name in the IDL,
            or is neither a number nor a string.
    """

    def __init__(self, kind: Any, fields: Iterable[str], string_bytes: int) -> None:
        self._kind = kind
        self._spec = [kind, kind.thrift_spec]
        number, field_type, name, argument, _ = kind.thrift_spec[-1]
        if field_type != TType.LIST or argument[0] != TType.STRUCT:
            raise TypeError(f"{kind.__name__}.{name} is no list of structs")
        self._list = _FIELD.pack(TType.LIST, number) + bytes((TType.STRUCT,))
        self._string_bytes = string_bytes
        # Of one item: the names of the values, the bytes before each value, and the format of the
        # value; then the bytes after the last one.
        self._names: list[str] = []
        self._strings: list[str] = []
        self._fixed: list[bytes] = []
        self._formats: list[str] = []
        wanted = set(fields)
        self._after = self._describe(argument[1][0], wanted, b"")
        unknown = sorted(wanted.difference(self._names))
        if unknown:
            raise TypeError(f"{kind.__name__}.{name} has no field called {', '.join(unknown)}")
        if len(self._names) != len(wanted):
            raise TypeError(f"{kind.__name__}.{name} has two fields of one name")
        self._layouts: dict[int, tuple[struct.Struct, list[Any]]] = {}

    def encode(self, head: Any, columns: Columns) -> Encoded:
        """`head`, with its list left out, and the list.

        Args:
            columns: for each name, its value in each item; strings as bytes.

        Raises:
            KeyError: a column is missing.
            ValueError: a string has another length, or a column is longer than another.
            struct.error: a value is of a wrong type, or out of range.
        """
        count = len(columns[self._names[0]])
        items = self._pack(count, columns) if count else b""
        encoded = encode_binary(head, self._spec)
        return Encoded(
            self._kind, b"".join((encoded[:-1], self._list, _SIZE.pack(count), items, _STOP))
        )

    def _pack(self, count: int, columns: Columns) -> bytes:
        layout, fixed = self._layouts.get(count) or self._lay_out(count)
        fields = fixed[:]
        each = 2 * len(self._names)
        for at, name in enumerate(self._names):
            fields[2 * at + 1 :: each] = columns[name]
        for name in self._strings:
            # `struct` would fill up or cut off a string of another length.
            if [*map(len, columns[name])].count(self._string_bytes) != count:  # type: ignore[arg-type]
                raise ValueError(
                    f"the strings of {self._kind.__name__} have {self._string_bytes} bytes each"
                )
        return layout.pack(*fields)

    def _lay_out(self, count: int) -> tuple[struct.Struct, list[Any]]:
        between = [*self._fixed[1:], self._after + self._fixed[0]] * count
        fixed = [self._fixed[0], *between[:-1], self._after]
        formats = [*self._formats * count, ""]
        layout = struct.Struct(
            "!"
            + "".join(f"{len(part)}s{letter}" for part, letter in zip(fixed, formats, strict=True))
        )
        fields: list[Any] = [None] * (2 * len(fixed) - 1)
        fields[::2] = fixed
        if count <= _MOST_KEPT:
            self._layouts[count] = layout, fields
        return layout, fields

    def _describe(self, kind: Any, wanted: Container[str], before: bytes) -> bytes:
        """Add the wanted fields of `kind` to what is known of an item; returns the bytes after its
        last value."""
        for number, field_type, name, argument, _ in filter(None, kind.thrift_spec):
            if field_type == TType.STRUCT:
                before += _FIELD.pack(field_type, number)
                before = self._describe(argument[0], wanted, before)
                continue
            if name not in wanted:
                continue
            before += _FIELD.pack(field_type, number)
            if field_type == TType.STRING:
                before += _SIZE.pack(self._string_bytes)
                self._strings.append(name)
            elif field_type not in _NUMBERS:
                raise TypeError(f"{kind.__name__}.{name} is neither a number nor a string")
            self._names.append(name)
            self._fixed.append(before)
            self._formats.append(_NUMBERS.get(field_type, f"{self._string_bytes}s"))
            before = b""
        return before + _STOP
