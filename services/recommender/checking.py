"""Requests as the IDL means them: Thrift enforces neither ranges nor presence, so every field is
taken for optional and checked here, once, with a reason for each that is out of range.

Rejected: checks where each value is used, which refuse a request half served and name one field at
a time.

    check_feed(UserRequest(user_id=7))  # Ask(reader_id=7, channel_id=0, wanted=10, …)
"""

from __future__ import annotations

from typing import Any

from services.recommender.pipeline import Ask
from tidings.reading.contexts import NO_CONTEXT, make_context
from tidings.reading.pages import LONGEST_PAGE, PAGE_SIZE
from tidings.rpc.errors import invalid
from tidings_idl.recommend.ttypes import ExplainRequest, SimilarRequest, UserRequest

MOST_EXCLUDED = 1000


def check_feed(request: UserRequest | None) -> Ask:
    """What a `UserRequest` asks for.

    Raises:
        Error: 422, with a reason for each field that is out of range.
    """
    if request is None:
        raise invalid({"request": "expected a UserRequest, got nothing"})
    time_stamp = request.time_stamp or 0
    reasons = {}
    if time_stamp < 0:
        reasons["time_stamp"] = f"expected milliseconds since 1970, or 0 for now, got {time_stamp}"
    return _check(request, time_stamp, reasons)


def check_explain(request: ExplainRequest | None) -> Ask:
    """What an `ExplainRequest` asks for.

    Raises:
        Error: 422, with a reason for each field that is out of range.
    """
    if request is None:
        raise invalid({"request": "expected an ExplainRequest, got nothing"})
    return _check(request, 0, {})


def check_similar(request: SimilarRequest | None) -> tuple[int, int]:
    """The article and how many neighbours are wanted.

    Raises:
        Error: 422, with a reason for each field that is out of range.
    """
    if request is None:
        raise invalid({"request": "expected a SimilarRequest, got nothing"})
    article_id = request.article_id or 0
    article_num, reasons = _check_number(request)
    if article_id < 1:
        reasons["article_id"] = f"expected a number above 0, got {article_id}"
    if reasons:
        raise invalid(reasons)
    return article_id, article_num


def _check(request: Any, time_stamp: int, reasons: dict[str, str]) -> Ask:
    user_id = request.user_id or 0
    channel_id = request.channel_id or 0
    article_num, more = _check_number(request)
    reasons |= more
    if user_id < 1:
        reasons["user_id"] = f"expected a number above 0, got {user_id}"
    if channel_id < 0:
        reasons["channel_id"] = (
            f"expected 0 for every channel or a channel's number, got {channel_id}"
        )
    given = request.context
    exclude = (given.exclude if given is not None else None) or ()
    if len(exclude) > MOST_EXCLUDED:
        reasons["exclude"] = f"expected at most {MOST_EXCLUDED} articles, got {len(exclude)}"
    if reasons:
        raise invalid(reasons)
    context = NO_CONTEXT if given is None else make_context(given.device, given.referrer)
    return Ask(
        user_id,
        channel_id,
        article_num,
        at_ms=time_stamp,
        context=context,
        exclude=exclude,
        first_visit=given is not None and bool(given.first_visit),
    )


def _check_number(request: Any) -> tuple[int, dict[str, str]]:
    article_num = PAGE_SIZE if request.article_num is None else request.article_num
    if 1 <= article_num <= LONGEST_PAGE:
        return article_num, {}
    return article_num, {"article_num": f"expected 1 to {LONGEST_PAGE}, got {article_num}"}
