"""What a message to the editor's desk asks, by rules, in Chinese and in English.

The rules are few, in order, and each stands in docs/chat.md with phrases that it understands, so a
reader can be told what to write; a message that no rule knows is answered with that list. Rejected:
a language model. It needs a machine of its own, answers late, and cannot be tested phrase by
phrase.

    read_question("what is new in sport?")  # Question(Subject.NEW, "en", channel="sport")
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from tidings.store.metadata import MOST_ID
from tidings.talk.desk.language import Language, language_of

# A question is a sentence; of a longer text only the beginning is looked at.
MOST_CHARS = 200
_ENDS = " \t\n.,;:!?。，；：！？…~～、\"'“”‘’「」《》()（）"


class Subject(StrEnum):
    """What a question is about."""

    NEW = "new"
    SIMILAR = "similar"
    WHY = "why"
    ORDERS = "orders"
    HELP = "help"
    UNKNOWN = "unknown"


class Question(msgspec.Struct, frozen=True):
    """A question as it was understood.

    Attributes:
        channel: as it was written, for `NEW`; empty for all of them.
        article_id: of `SIMILAR` and `WHY`; None for "this", the article that was spoken of last.
    """

    subject: Subject
    language: Language
    channel: str = ""
    article_id: int | None = None


# In order: the first that fits is the one. A group `id` is an article, `channel` a channel.
_RULES: dict[Language, Sequence[tuple[Subject, re.Pattern[str]]]] = {
    "en": [
        (subject, re.compile(pattern))
        for subject, pattern in (
            (
                Subject.HELP,
                r"(?:help|hi|hello|hey|menu|what can (?:i ask|you do|i do)(?: you)?)",
            ),
            (
                Subject.ORDERS,
                (
                    r"(?:(?:show|list|give|tell|what|where|how|about|are|is|me|please) )*"
                    r"my (?:(?:last|latest|newest|recent) )?orders?(?: doing)?"
                ),
            ),
            (
                Subject.WHY,
                r"why(?: (?:this|that|(?:article |number )?#?(?P<id>\d+)))?(?: article| one)?",
            ),
            (
                Subject.WHY,
                (
                    r"why (?=.*\b(?:see|seeing|saw|show|shown|showing|get|getting|recommend\w*)\b)"
                    r"(?:.*?\b(?P<id>\d+))?.*"
                ),
            ),
            (
                Subject.SIMILAR,
                (
                    r".*\b(?:similar to|like|related to|close to)(?: the)?(?: article| number)? ?"
                    r"#?(?P<id>\d+)"
                ),
            ),
            (
                Subject.SIMILAR,
                (
                    r"(?:.*\b)?(?:more|similar|something|others?|articles?)\b.*\b"
                    r"(?:like|similar to|related to|of)"
                    r" (?:this|that|it|these|the same)(?: one| article| kind)?"
                ),
            ),
            (Subject.SIMILAR, r"(?:more|similar|more please|similar articles)"),
            (
                Subject.NEW,
                (
                    r"(?:(?:what|whats|is|are|there|tell|show|give|me|anything|something|any|the)"
                    r" )*(?:new|news|latest|newest|up)(?: news| articles?| stories)?"
                    r"(?: (?:in|on|about|from|for|at) (?:the )?(?P<channel>.+?)(?: channel)?)?"
                ),
            ),
        )
    ],
    "zh": [
        (subject, re.compile(pattern))
        for subject, pattern in (
            (
                Subject.HELP,
                (
                    r"(?:帮助|帮帮我|你好|您好|菜单|怎么用|你(?:会|能)(?:做|干|帮我做)?(?:什么|啥)"
                    r"|我?(?:能|可以)问(?:你)?(?:什么|些什么|啥))"
                ),
            ),
            (
                Subject.ORDERS,
                (
                    r"(?:请|帮我|我想)*(?:查询|查看|查|看看|看|显示)?(?:一下)?"
                    r"(?:我的|我)?(?:最近的?|最新的?)?订单(?:呢|状态|在哪里?|怎么样了?|到哪里?了)?"
                ),
            ),
            (
                Subject.WHY,
                (
                    r".*(?:为什么|为何|怎么会).*(?:看到|看见|推荐|给我|出现|显示).*?"
                    r"(?P<id>\d+)?\D*"
                ),
            ),
            (Subject.WHY, r"(?:为什么|为何)(?:是)?(?:这个|这篇|它)?(?:文章)?#?(?P<id>\d+)?"),
            (
                Subject.SIMILAR,
                r".*?(?:和|与|跟|同|像|类似于?|相似于?)(?:文章|第)?#?(?P<id>\d+).*",
            ),
            (Subject.SIMILAR, r"\D*(?:类似|相似|同类|这样的|这类|这种|像这).*"),
            (Subject.SIMILAR, r"(?:更多|再来(?:点|一些|几篇)|还有吗)"),
            (
                Subject.NEW,
                (
                    r"(?:请问|看看|告诉我|给我看?)?(?:在)?(?P<channel>.*?)"
                    r"(?:频道|栏目|版块|方面)?(?:里面?|上|中)?的?"
                    r"(?:最近|今天|现在|又)?(?:有|出)?(?:了|些)?(?:什么|啥|哪些|没有)?"
                    r"(?:新的|新文章|新闻|新鲜事|新消息|最新的?)"
                    r"(?:文章|消息|内容|东西|新闻)?(?:吗|呢|么|没有)?"
                ),
            ),
        )
    ],
}


def read_question(text: str) -> Question:
    """What a message asks; `UNKNOWN` where no rule knows it."""
    language = language_of(text)
    plain = _plain(text, language)
    for subject, pattern in _RULES[language]:
        found = pattern.fullmatch(plain)
        if found is not None:
            return _to_question(subject, language, found)
    return Question(Subject.UNKNOWN, language)


def find_channel(written: str, names: Sequence[tuple[str, ...]]) -> int | None:
    """Which of the channels a reader means: the place in `names`, or None.

    Args:
        written: as the reader wrote it.
        names: the names of each channel, its slug among them. A beginning that only one of them has
            is enough.
    """
    wanted = _key(written)
    keys = [{_key(name) for name in of_one} for of_one in names]
    same = [place for place, of_one in enumerate(keys) if wanted in of_one]
    begun = [
        place
        for place, of_one in enumerate(keys)
        if wanted and any(key.startswith(wanted) for key in of_one)
    ]
    return same[0] if same else begun[0] if len(begun) == 1 else None


def _to_question(subject: Subject, language: Language, found: re.Match[str]) -> Question:
    groups = found.groupdict()
    article_id = int(groups["id"]) if groups.get("id") else None
    if article_id is not None and not 0 < article_id <= MOST_ID:
        return Question(Subject.UNKNOWN, language)
    return Question(subject, language, channel=groups.get("channel") or "", article_id=article_id)


def _plain(text: str, language: Language) -> str:
    """A message as the rules are written: small letters, no apostrophe, no full stop at the end; in
    Chinese no spaces either, which stand between Chinese and Latin letters or not."""
    plain = unicodedata.normalize("NFKC", text[:MOST_CHARS]).casefold()
    plain = re.sub(r"['’]", "", plain).strip(_ENDS)
    plain = re.sub(r"[,，]", " ", plain)
    return re.sub(r"\s+", "" if language == "zh" else " ", plain)


def _key(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
