"""What the generated code knows about a service, as a table of methods that both ends read.

The generated `Client` checks neither sequence id nor method name of a reply, and the generated
`Processor` leaks what a handler raises; both are a dozen lines around the args and result structs,
so both ends here use those structs and leave the rest unused.

    methods_of(UserRecommend)["user_recommend"].argument    # "request"
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from thrift.Thrift import TType

from tidings.rpc.wire.structs import quick

_STRUCT = (0, TType.STRUCT)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service.

    Attributes:
        args_codec: what the C codec is told about `args_type`, so that structs within are made
            quickly.
        argument: the name of the one argument.
        result_codec: the same of `result_type`.
        returns: True if it answers with a value; a void method has only its exceptions.
        returned_struct: the class of what it returns, if that is a struct.
        throws: each declared exception class, and the field of `result_type` it travels in.
    """

    name: str
    args_type: Any
    args_codec: list[Any]
    argument: str
    result_type: Any
    result_codec: list[Any]
    returns: bool
    returned_struct: type | None
    throws: tuple[tuple[type[Exception], str], ...]

    def field_of(self, ex: Exception) -> str | None:
        """The field of `result_type` that `ex` travels in; None if the method does not declare
        it."""
        return next((field for kind, field in self.throws if isinstance(ex, kind)), None)


def methods_of(service: ModuleType) -> Mapping[str, Method]:
    """Every method of a generated service module, those of the services it extends included."""
    found = {}
    for interface in service.Iface.__mro__:
        module = sys.modules[interface.__module__]
        for name in vars(interface):
            result_type = getattr(module, f"{name}_result", None)
            if result_type is not None and name not in found:
                found[name] = _describe(name, getattr(module, f"{name}_args"), result_type)
    return found


def _describe(name: str, args_type: Any, result_type: Any) -> Method:
    fields = [field for field in result_type.thrift_spec if field is not None]
    return Method(
        name=name,
        args_type=args_type,
        args_codec=quick(args_type),
        argument=args_type.__slots__[0],
        result_type=result_type,
        result_codec=quick(result_type),
        returns=any(number == 0 for number, *_ in fields),
        returned_struct=next(
            (spec[0] for number, kind, _, spec, _ in fields if not number and kind == TType.STRUCT),
            None,
        ),
        throws=tuple((spec[0], field) for number, _, field, spec, _ in fields if number != 0),
    )
