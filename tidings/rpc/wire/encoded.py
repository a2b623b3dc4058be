"""Replies that a handler puts together as bytes, without making the structs that would only be
taken apart again.

A page of a feed is ten articles with forty fresh tokens: making their structs and encoding them was
more than half of what the server did for a call. Rejected: keeping encoded articles from the last
call, since tokens belong to one reader and one batch; and a codec of our own, for what is not made
of numbers and strings of one length goes the usual way.
"""

from __future__ import annotations

import struct
from typing import Any

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TType
from thrift.transport.TTransport import TMemoryBuffer

from tidings.rpc.wire.codec import encode_binary

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
    """Encodes structs of one kind whose last field is a list of structs, all strings of which have
    one length.

    Args:
        kind: the outer struct's class.
        string_bytes: the length of each string within the list.

    Raises:
        TypeError: the kind's last field is no such list, or its structs hold something else than
            numbers, strings and structs of those.
    """

    def __init__(self, kind: Any, string_bytes: int) -> None:
        self._kind = kind
        self._spec = [kind, kind.thrift_spec]
        number, field_type, name, argument, _ = kind.thrift_spec[-1]
        if field_type != TType.LIST or argument[0] != TType.STRUCT:
            raise TypeError(f"{kind.__name__}.{name} is no list of structs")
        self._list = _FIELD.pack(TType.LIST, number) + bytes((TType.STRUCT,))
        self._string_bytes = string_bytes
        # Of one item: the bytes before each value, and the format of the value; then the bytes
        # after the last one.
        self._fixed: list[bytes] = []
        self._formats: list[str] = []
        self._after = self._describe(argument[1][0], b"")
        numbers = [at for at, letter in enumerate(self._formats) if not letter.endswith("s")]
        self._numbers = numbers[
            ::-1
        ]  # from the last to the first, so that deleting one moves no other
        self._layouts: dict[int, tuple[struct.Struct, list[Any]]] = {}

    def encode(self, head: Any, values: list[Any]) -> Encoded:
        """`head`, with its list left out, and the list.

        Args:
            values: of the innermost fields of each item in turn, in the specification's order;
                strings as bytes.

        Raises:
            ValueError: a string has another length, or there are too few or too many values.
            struct.error: a value is of a wrong type, or out of range.
        """
        count, rest = divmod(len(values), len(self._formats))
        if rest:
            raise ValueError(f"{len(values)} values do not make whole items")
        items = self._pack(count, values) if count else b""
        encoded = encode_binary(head, self._spec)
        return Encoded(
            self._kind, b"".join((encoded[:-1], self._list, _SIZE.pack(count), items, _STOP))
        )

    def _pack(self, count: int, values: list[Any]) -> bytes:
        # `struct` would fill up or cut off a string of another length.
        strings, each = values[:], len(self._formats)
        for at in self._numbers:
            del strings[at::each]
            each -= 1
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

    def _describe(self, kind: Any, before: bytes) -> bytes:
        """Add the fields of `kind` to what is known of an item; returns the bytes after its last
        value."""
        for number, field_type, name, argument, _ in filter(None, kind.thrift_spec):
            before += _FIELD.pack(field_type, number)
            if field_type == TType.STRUCT:
                before = self._describe(argument[0], before)
                continue
            if field_type == TType.STRING:
                before += _SIZE.pack(self._string_bytes)
            elif field_type not in _NUMBERS:
                raise TypeError(f"{kind.__name__}.{name} is neither a number nor a string")
            self._fixed.append(before)
            self._formats.append(_NUMBERS.get(field_type, f"{self._string_bytes}s"))
            before = b""
        return before + _STOP
