"""Replies that a handler puts together as bytes, without making the structs that would only be
taken apart again.

A page of a feed is ten articles with forty fresh tokens: making their structs and encoding them was
more than half of what the server did for a call. So a handler says once what the values of its rows
are called, and the names are held against the IDL when the program starts: a field that the IDL has
and the rows do not is absent on the wire, as Thrift leaves it to any caller, and a name that the
IDL does not have is an error of that start. Rejected: values in the order of the IDL, where one
more field in it failed every call; names in each row, or a column for each name, which cost a tenth
of a call and more; keeping encoded articles from the last call, since tokens belong to one reader
and one batch; and a codec of our own, for what is not made of numbers and strings of one length
goes the usual way.

What has no fixed length, such as the reason of an article, comes last in its item and is encoded
before; the same reasons come again and again.

    pages = Pages(ArticleResponse, ["article_id", "click"], string_bytes=72, tail="reason")
    fresh = pages.encode_tail(Reason("fresh"))
    pages.encode(ArticleResponse(exposure), [(7, token), (8, another)], [fresh, b""])
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

from tidings.rpc.wire.codec import encode_binary

Row: TypeAlias = Sequence[int | float | bytes]

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
        fields: what the values of a row are called, in their order; each is a field of the list's
            structs, or of a struct within.
        string_bytes: the length of each string within the list.
        tail: the last field of the list's structs, a struct that is given encoded with each row;
            empty if there is none.

    Raises:
        TypeError: the kind's last field is no such list; or a field has another name in the IDL,
            or is neither a number nor a string; or the tail is no struct or is not the last.
    """

    def __init__(self, kind: Any, fields: Iterable[str], string_bytes: int, tail: str = "") -> None:
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
        self._fixed: list[bytes] = []
        self._formats: list[str] = []
        wanted = list(fields)
        self._tail = self._find_tail(argument[1][0], tail) if tail else None
        self._after = self._describe(argument[1][0], wanted, b"", skipped=tail)
        if tail:
            # The end of an item follows its tail.
            self._after = self._after[: -len(_STOP)]
        unknown = sorted(set(wanted).difference(self._names))
        if unknown:
            raise TypeError(f"{kind.__name__}.{name} has no field called {', '.join(unknown)}")
        if sorted(self._names) != sorted(wanted):
            raise TypeError(f"{kind.__name__}.{name} has two fields of one name")
        # Rows in the order of the IDL are taken as they are.
        places = [wanted.index(name) for name in self._names]
        self._reorder = itemgetter(*places) if places != sorted(places) else None
        numbers = [at for at, letter in enumerate(self._formats) if not letter.endswith("s")]
        # From the last to the first, so that deleting one moves no other.
        self._numbers = numbers[::-1]
        self._layouts: dict[int, tuple[struct.Struct, list[Any]]] = {}

    def encode_tail(self, struct: Any) -> bytes:
        """The tail of an item, for `encode`. An item without one has no bytes there.

        Raises:
            TypeError: these pages have no tail.
        """
        if self._tail is None:
            raise TypeError(f"{self._kind.__name__} has no tail")
        header, spec = self._tail
        encoded: bytes = encode_binary(struct, spec)
        return header + encoded

    def encode(self, head: Any, rows: Sequence[Row], tails: Sequence[bytes] = ()) -> Encoded:
        """`head`, with its list left out, and the list.

        Args:
            rows: one for each item; strings as bytes.
            tails: the tail of each item, if these pages have any.

        Raises:
            ValueError: a string has another length, a row has too few or too many values, or there
                are more or fewer tails than rows.
            struct.error: a value is of a wrong type, or out of range.
        """
        count = len(rows)
        values: list[Any] = []
        for row in rows if self._reorder is None else map(self._reorder, rows):
            values += row
        items = self._pack(count, values) if count else b""
        if self._tail is not None and count:
            each = len(items) // count
            starts = range(0, len(items), each)
            items = b"".join(
                items[start : start + each] + tail + _STOP
                for start, tail in zip(starts, tails, strict=True)
            )
        encoded = encode_binary(head, self._spec)
        return Encoded(
            self._kind, b"".join((encoded[:-1], self._list, _SIZE.pack(count), items, _STOP))
        )

    def _pack(self, count: int, values: list[Any]) -> bytes:
        strings, each = values[:], len(self._names)
        if len(values) != count * each:
            raise ValueError(f"{len(values)} values in {count} rows of {each}")
        for at in self._numbers:
            del strings[at::each]
            each -= 1
        # `struct` would fill up or cut off a string of another length.
        if list(map(len, strings)).count(self._string_bytes) != len(strings):
            raise ValueError(
                f"the strings of {self._kind.__name__} have {self._string_bytes} bytes each"
            )
        layout, fixed = self._layouts.get(count) or self._lay_out(count)
        fields = fixed[:]
        fields[1::2] = values
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

    def _has_more(self, kind: Any, wanted: Container[str]) -> bool:
        """Whether a struct holds a wanted field that no struct before it held."""
        return any(
            self._has_more(argument[0], wanted)
            if field_type == TType.STRUCT
            else name in wanted and name not in self._names
            for _, field_type, name, argument, _ in filter(None, kind.thrift_spec)
        )

    def _find_tail(self, kind: Any, name: str) -> tuple[bytes, list[Any]]:
        """The bytes before the tail, and how it is encoded."""
        number, field_type, found, argument, _ = kind.thrift_spec[-1]
        if found != name or field_type != TType.STRUCT:
            raise TypeError(f"the last field of {kind.__name__} is no struct called {name}")
        return _FIELD.pack(field_type, number), [argument[0], argument[0].thrift_spec]

    def _describe(
        self, kind: Any, wanted: Container[str], before: bytes, skipped: str = ""
    ) -> bytes:
        """Add the wanted fields of `kind` to what is known of an item; returns the bytes after its
        last value."""
        for number, field_type, name, argument, _ in filter(None, kind.thrift_spec):
            if name == skipped:
                continue
            if field_type == TType.STRUCT:
                if not self._has_more(argument[0], wanted):
                    continue
                before += _FIELD.pack(field_type, number)
                before = self._describe(argument[0], wanted, before)
                continue
            if name not in wanted:
                continue
            before += _FIELD.pack(field_type, number)
            if field_type == TType.STRING:
                before += _SIZE.pack(self._string_bytes)
            elif field_type not in _NUMBERS:
                raise TypeError(f"{kind.__name__}.{name} is neither a number nor a string")
            self._names.append(name)
            self._fixed.append(before)
            self._formats.append(_NUMBERS.get(field_type, f"{self._string_bytes}s"))
            before = b""
        return before + _STOP
