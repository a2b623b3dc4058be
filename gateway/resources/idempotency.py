"""The key by which a request that must not happen twice is known again.

Each noun decides what the same key means; here it is only read. Rejected: to go on without a key,
as if the client would never send a request again.

    key = read_idempotency_key(req)
"""

from __future__ import annotations

import re

import falcon

from tidings.http.errors import IdempotencyKeyNeededError
from tidings.http.parameters import HeaderParameter

IDEMPOTENCY_KEY = HeaderParameter(
    "Idempotency-Key",
    "1 to 128 visible characters; what is sent again with the same key is made once",
    pattern=r"[\x21-\x7e]{1,128}",
    is_required=True,
)


def read_idempotency_key(req: falcon.Request) -> str:
    """The key of a request.

    Raises:
        IdempotencyKeyNeededError: it has none, or one that cannot be used.
    """
    key = req.get_header(IDEMPOTENCY_KEY.name) or ""
    if not re.fullmatch(IDEMPOTENCY_KEY.pattern, key, re.ASCII):
        raise IdempotencyKeyNeededError(f"send {IDEMPOTENCY_KEY.name}: {IDEMPOTENCY_KEY.meaning}")
    return key
