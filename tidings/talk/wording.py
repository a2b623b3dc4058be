"""What a notice says to a person, in Chinese and in English, made from its code and its data.

A notice is stored as a code with numbers, so that a text can be corrected, or another language
added, after it was written. What stands here is all that any door says of it: the page, the JSON of
the chat, a program of another site. Rejected: prose in the row; each reader would have to be asked
for a language before there is one place to ask.

    say("order_cancelled", {"order_id": 42, "why": "expired"}, times=1).en
    # "Order 42 was cancelled: it was not paid in time."
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidings.talk.notices import NoticeType

FOR_OPERATORS = frozenset(
    {
        NoticeType.REFUND_DEAD,
        NoticeType.PAYMENT_MISMATCHED,
        NoticeType.IMPORT_FAILED,
        NoticeType.JOB_DEAD,
    }
)
FOR_READERS = tuple(type_ for type_ in NoticeType if type_ not in FOR_OPERATORS)


class Texts(msgspec.Struct, frozen=True):
    """The same in both languages."""

    zh: str
    en: str


# What stands in braces is a field of the data, or one of `_FORMS`. A second pair is for a group of
# several, and may use `times`.
_TEXTS: Mapping[str, tuple[Texts, Texts | None]] = {
    NoticeType.ORDER_PAID: (
        Texts("订单 {order_id} 已付款：{amount}。", "Order {order_id} is paid: {amount}."),
        None,
    ),
    NoticeType.ORDER_EXPIRING: (
        Texts(
            "订单 {order_id} 尚未付款，将于 {until} 取消。",
            "Order {order_id} is not paid yet, and is cancelled at {until}.",
        ),
        None,
    ),
    NoticeType.ORDER_CANCELLED: (
        Texts("订单 {order_id} 已取消：{why_zh}。", "Order {order_id} was cancelled: {why_en}."),
        None,
    ),
    NoticeType.REFUND_SENT: (
        Texts(
            "订单 {order_id} 的 {amount} 已退还。",
            "The {amount} of order {order_id} went back to you.",
        ),
        None,
    ),
    NoticeType.FRESH_ARTICLES: (
        Texts("有 {so_many} 篇新文章等你来读。", "{so_many} new articles wait for you."),
        None,
    ),
    NoticeType.REFUND_DEAD: (
        Texts(
            "付款 {payment_id} 的退款 {amount} 无法退出，需要处理。",
            "The refund of {amount} for payment {payment_id} cannot be sent; a person has to act.",
        ),
        Texts(
            "{times} 笔退款无法退出，最近一笔是付款 {payment_id} 的 {amount}。",
            "{times} refunds cannot be sent, the latest is {amount} for payment {payment_id}.",
        ),
    ),
    NoticeType.PAYMENT_MISMATCHED: (
        Texts(
            "{provider} 的一次支付回调与本站不符：{verdict}。",
            "A callback of {provider} does not fit what this site knows: {verdict}.",
        ),
        Texts(
            "{provider} 的 {times} 次支付回调与本站不符，最近一次：{verdict}。",
            "{times} callbacks of {provider} do not fit what this site knows, the latest: "
            "{verdict}.",
        ),
    ),
    NoticeType.IMPORT_FAILED: (
        Texts("从 {source} 导入失败：{error}。", "The import from {source} failed: {error}."),
        Texts(
            "从 {source} 导入已失败 {times} 次，最近一次：{error}。",
            "The import from {source} failed {times} times, the latest: {error}.",
        ),
    ),
    NoticeType.JOB_DEAD: (
        Texts(
            "延迟任务 {kind}:{ref} 已放弃。",
            "The delayed job {kind}:{ref} was given up.",
        ),
        Texts(
            "{times} 个 {kind} 延迟任务已放弃，最近一个：{ref}。",
            "{times} delayed jobs of {kind} were given up, the latest: {ref}.",
        ),
    ),
}
# A program that is older than the notice says at least that there is one.
_UNKNOWN = Texts("有一条新通知。", "There is something new.")
_WHY = {
    "expired": Texts("未按时付款", "it was not paid in time"),
    "by_reader": Texts("应你的要求", "as you asked"),
}
_WHY_UNKNOWN = Texts("原因未知", "the reason is not known")


def say(type_: str, data: Mapping[str, Any], *, times: int) -> Texts:
    """What a notice says.

    Args:
        type_: a `NoticeType`, or one of a later release, which is told in general words.
        data: the notice's own.
        times: how often it happened; more than once where notices were grouped.
    """
    one, several = _TEXTS.get(type_, (_UNKNOWN, None))
    texts = several if several is not None and times > 1 else one
    try:
        fields = _Fields(data, times=times)
        return Texts(zh=texts.zh.format_map(fields), en=texts.en.format_map(fields))
    except (KeyError, TypeError, ValueError, OverflowError):
        return _UNKNOWN  # Written by a release that knows other data.


def say_amount(cents: int, currency: str) -> str:
    """An amount of money as it is written: `12.00 EUR`."""
    return f"{cents // 100}.{cents % 100:02} {currency}"


def say_moment(at_ms: int) -> str:
    """The hour of a moment, in the zone that every program of the site shares: `18:05 UTC`."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M} UTC"


def _why(data: Mapping[str, Any]) -> Texts:
    return _WHY.get(data["why"], _WHY_UNKNOWN)


_FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "amount": lambda data: say_amount(data["amount_cents"], data["currency"]),
    "so_many": lambda data: "99+" if data["number"] > 99 else str(data["number"]),
    "until": lambda data: say_moment(data["expires_at"]),
    "why_zh": lambda data: _why(data).zh,
    "why_en": lambda data: _why(data).en,
}


class _Fields(dict[str, Any]):
    """The data of a notice; a form of it is made when a text asks for it."""

    def __missing__(self, name: str) -> str:
        return _FORMS[name](self)
