"""Thrift's codec in C, which everything here relies on.

Thrift installs without it where there is no compiler, and then uses its codec in Python without a
word. So a server or a client asks for it at the start, and modules can be imported without it until
then.

    require_codec()
"""

from __future__ import annotations

from tidings.process.errors import SettingsError

try:
    from thrift.protocol.fastbinary import decode_binary, encode_binary
except ImportError:
    decode_binary = encode_binary = None

__all__ = ["CodecMissingError", "decode_binary", "encode_binary", "require_codec"]


class CodecMissingError(SettingsError):
    """Thrift's codec in C is not installed; the one in Python is some 20 to 40 times slower."""


def require_codec() -> None:
    """Raises:
    CodecMissingError: instead of serving slowly, which is how Thrift itself would go on.
    """
    try:
        # TBase: the codec imports it with the first struct it reads, too late if no file can be
        # opened by then.
        from thrift.protocol import TBase, fastbinary  # noqa: F401 - only whether they can be imported matters
    except ImportError:
        raise CodecMissingError(
            "thrift.protocol.fastbinary: Thrift's C codec is missing; reinstall thrift where a C "
            "compiler "
            "and Python's headers are present"
        ) from None
