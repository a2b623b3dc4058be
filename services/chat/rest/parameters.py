"""What the chat's requests have in common: where pages go on, ids in bodies, bounds.

Messages and notices are numbered within what they belong to, so a page goes on from a number, which
a client that notices a gap knows by itself. Rejected: signed words as for other lists; the client
would have to be told one for each gap.

    limit = read_parameters(req, [LIMIT, BEFORE])[LIMIT.name]
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec

from tidings.http.parameters import MAX_ID, IntParameter

# A message of 16 KiB is at most 96 KiB of JSON, where each byte may stand as an escape of six.
MAX_BODY_BYTES = 128 * 1024
# Of anonymous readers, whose ids are the largest: exact in JavaScript's numbers.
MOST_READER_ID = 2**53 - 1
LIMIT = IntParameter("limit", 1, 100, default=50, meaning="how many at most")
BEFORE = IntParameter("before", 1, MAX_ID, default=MAX_ID, meaning="those below it, newest first")
CONVERSATION = {"conversation_id": "from POST /conversations"}
MESSAGE = CONVERSATION | {"seq": "of a message in this conversation"}
# A conversation that is not the caller's, or what can be none.
CLOSED = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)

ReaderId = Annotated[int, msgspec.Meta(ge=1, le=MOST_READER_ID)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
