"""Why a request of a chat is refused: one exception a rule, each with the code that is told.

    TalkError
    ├─ InvalidError        invalid          empty, too many, no such kind of thing
    ├─ TooLongError        too_long         a message over 16 KiB
    ├─ NotAMemberError     not_a_member     no such conversation, or not the reader's
    ├─ BlockedError        blocked          one of the two blocks the other
    ├─ CidConflictError    cid_conflict     the cid names another message of this sender
    ├─ NotYoursError       not_yours        another's message; only the owner may do this
    ├─ TooLateError        too_late         five minutes have passed
    ├─ NoSuchMessageError  no_such_message  no message of this number, or not yet
    └─ QuotaError          quota            too many for now

A code is part of the protocol: sockets send it, REST maps the class to a status. A conversation
that does not exist and one that is another's are told alike. Rejected: HTTP statuses here; a socket
has none.

    try:
        rename(conn, 7, conversation_id, title="Friday")
    except TalkError as ex:
        ex.code, str(ex)  # "not_yours", "only the owner of a group may rename it"
"""

from __future__ import annotations

from typing import ClassVar


class TalkError(Exception):
    """A rule refuses it; the message is fit for the reader who asked."""

    code: ClassVar[str]


class InvalidError(TalkError):
    """It makes no sense, whenever it is asked."""

    code = "invalid"


class TooLongError(TalkError):
    """A message is longer than one may be."""

    code = "too_long"


class NotAMemberError(TalkError):
    """There is no such conversation, or this reader is no member of it; which is not told."""

    code = "not_a_member"

    def __init__(self, conversation_id: int) -> None:
        super().__init__(f"there is no conversation {conversation_id} of yours")


class BlockedError(TalkError):
    """One of the two blocks the other; which is not told."""

    code = "blocked"

    def __init__(self, text: str = "one of you blocks the other") -> None:
        super().__init__(text)


class CidConflictError(TalkError):
    """The cid was used for another conversation or another text."""

    code = "cid_conflict"

    def __init__(self, cid: str) -> None:
        super().__init__(f"the cid {cid} names another message of yours")


class NotYoursError(TalkError):
    """Only its sender, or only the owner of the group, may do this."""

    code = "not_yours"


class TooLateError(TalkError):
    """The time for it is over."""

    code = "too_late"


class NoSuchMessageError(TalkError):
    """No message has this number, it was deleted, or it came before the reader did."""

    code = "no_such_message"

    def __init__(self, seq: int) -> None:
        super().__init__(f"there is no message {seq} that you could see")


class QuotaError(TalkError):
    """So much is not allowed in so short a time; it passes."""

    code = "quota"
