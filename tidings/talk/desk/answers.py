"""The words of the editor's desk, in the language it was asked in.

Every answer is made here from plain data, so that all that the desk can say is read in one place,
and a translator changes no program that calls a server. An article is named as `#12 Title`: the
number is what a reader sends back to ask on, and what a page makes a link of. Rejected: links in
the text; an address belongs to a site, and a message may be read by another program.

    list_articles("en", "new", [Named(12, "Ice on the river")], channel="Sport")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tidings.talk.desk.language import Language
from tidings.talk.wording import say_amount, say_moment

_NAMED = re.compile(r"#(\d{1,18})\b")


class Named(NamedTuple):
    """An article by its number and title."""

    article_id: int
    title: str


class Placed(NamedTuple):
    """An order as the desk tells it; `expires_at` is in ms since the epoch."""

    order_id: int
    status: str
    total_cents: int
    currency: str
    expires_at: int


_TEXTS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "new": "New for you:",
        "new_in": "New in {channel}:",
        "nothing_new": "There is nothing new just now.",
        "similar": "Like {article}:",
        "nothing_similar": "Nothing is known yet that is like {article}.",
        "no_channel": "There is no channel “{written}”. There are: {channels}.",
        "no_article": "There is no article #{article_id}.",
        "which_article": "Which article? Its number will do, as in “similar to 123”.",
        "why": "{article} is there because {reason}.",
        "not_shown": "{article} was not shown to you lately, as far as it is known.",
        "orders": "Your latest orders:",
        "no_orders": "You have no orders.",
        "order": "Order {order_id}: {amount}, {status}",
        "unpaid": "not paid; kept until {until}",
        "paid": "paid",
        "cancelled": "cancelled",
        "away": "Sorry, the editors cannot be reached just now. Please ask again in a moment.",
        "help": (
            "You can ask me:\n"
            "what is new\n"
            "what is new in {channel}\n"
            "similar to 123\n"
            "more like this\n"
            "why did I see this\n"
            "my orders"
        ),
        "unknown": "Sorry, I did not understand that.",
    },
    "zh": {
        "new": "为你推荐的新文章：",
        "new_in": "{channel} 的新文章：",
        "nothing_new": "暂时没有新文章。",
        "similar": "与 {article} 类似的文章：",
        "nothing_similar": "还不知道有什么文章与 {article} 类似。",
        "no_channel": "没有“{written}”这个频道。现有频道：{channels}。",
        "no_article": "没有文章 #{article_id}。",
        "which_article": "哪一篇文章？写上编号即可，例如“类似 123”。",
        "why": "给你看 {article}，是因为{reason}。",
        "not_shown": "据我所知，最近没有给你看过 {article}。",
        "orders": "你最近的订单：",
        "no_orders": "你没有订单。",
        "order": "订单 {order_id}：{amount}，{status}",
        "unpaid": "未付款，保留到 {until}",
        "paid": "已付款",
        "cancelled": "已取消",
        "away": "抱歉，编辑部暂时联系不上，请稍后再问。",
        "help": (
            "你可以问我：\n"
            "有什么新的\n"
            "{channel} 频道有什么新的\n"
            "类似 123\n"
            "更多这样的\n"
            "为什么给我看这个\n"
            "我的订单"
        ),
        "unknown": "抱歉，我没有听懂。",
    },
}
# By the kinds of `idl/recommend.thrift`; of one that is not here nothing is said.
_REASONS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "popular": "many read it just now",
        "read": "you read {because}, and those who did went on to this one",
        "taste": "it is from a channel or an author that you like to read",
        "similar": "its text is like what you read",
        "fresh": "it is new, and few have seen it yet",
        "backlog": "it is one of the other articles of its channel",
        "again": "you have seen the rest of what the channel has",
        "": "it was chosen for you; no more is known of it",
    },
    "zh": {
        "popular": "现在很多人在读它",
        "read": "你读过{because}，读过那篇的人接着读了它",
        "taste": "它来自你喜欢的频道或作者",
        "similar": "它的内容与你读过的文章相近",
        "fresh": "它是新文章，还很少有人看过",
        "backlog": "它是频道里的其他文章",
        "again": "频道里其余的文章你都看过了",
        "": "它是为你挑选的，其他原因已不可知",
    },
}


def tell(language: Language, what: str, **fields: object) -> str:
    """One of the desk's sentences.

    Args:
        language: of the question.
        what: its name.
        fields: what stands in it.
    """
    return _TEXTS[language][what].format_map(fields)


def tell_unknown(language: Language, channel: str) -> str:
    """That a question was not understood, and what can be asked, with a channel that there is."""
    return f"{tell(language, 'unknown')}\n{tell(language, 'help', channel=channel)}"


def name_article(named: Named) -> str:
    """An article as the desk names it: on one line, also where its title has several."""
    return f"#{named.article_id} {' '.join(named.title.split())}"


def find_named(text: str) -> int | None:
    """The first article that an answer of the desk names; None if it names none."""
    found = _NAMED.search(text)
    return None if found is None else int(found[1])


def list_articles(language: Language, what: str, found: Sequence[Named], **fields: object) -> str:
    """A heading, and an article a line."""
    return "\n".join([tell(language, what, **fields), *map(name_article, found)])


def tell_reason(language: Language, article: Named, kind: str, because: Named | None) -> str:
    """Why an article was shown.

    Args:
        language: of the question.
        article: the one that was asked about.
        kind: of the recommender's reason; empty if it gave none.
        because: the article that led there, if it is known.
    """
    reasons = _REASONS[language]
    if kind == "read" and because is None:
        kind = "popular"
    reason = reasons.get(kind, reasons[""])
    told = reason.format_map({"because": name_article(because) if because else ""})
    return tell(language, "why", article=name_article(article), reason=told)


def list_orders(language: Language, orders: Sequence[Placed]) -> str:
    """A reader's orders, a line each."""
    if not orders:
        return tell(language, "no_orders")
    lines = [
        tell(
            language,
            "order",
            order_id=order.order_id,
            amount=say_amount(order.total_cents, order.currency),
            status=tell(language, order.status, until=say_moment(order.expires_at)),
        )
        for order in orders
    ]
    return "\n".join([tell(language, "orders"), *lines])
