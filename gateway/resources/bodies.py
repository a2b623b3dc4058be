"""Bodies that may be longer than those of all other requests: pictures that are brought in.

The thread that owns the connections has to know before a body is there whether it is taken, and
knows nothing of resources; so the routes with a bound of their own stand here. Rejected: a higher
GATEWAY_MAX_BODY_BYTES for all, since each body is held whole while it comes.

    longest(b"POST /images HTTP/1.1", usual=262_144)  # 5242880
"""

from __future__ import annotations

from tidings.importing import pictures

PICTURE_BYTES = pictures.MAX_BYTES
LONGER = {(b"POST", b"/images"): PICTURE_BYTES}


def longest(request_line: bytes, *, usual: int) -> int:
    """How many bytes the body of a request may have.

    Args:
        request_line: its first line.
        usual: the bound of all that has none of its own.
    """
    method, _, rest = request_line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    return max(LONGER.get((method, path), 0), usual)
