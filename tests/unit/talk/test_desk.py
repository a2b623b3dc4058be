"""The editor's desk understands what docs/chat.md says it does, and answers in the language of the
question."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.talk.desk import answers
from tidings.talk.desk.answers import Named, Placed
from tidings.talk.desk.language import Language, language_of
from tidings.talk.desk.questions import Question, Subject, find_channel, read_question

NEW, SIMILAR, WHY, ORDERS, HELP, UNKNOWN = Subject

ENGLISH = [
    ("what is new", Question(NEW, "en")),
    ("What's new?", Question(NEW, "en")),
    ("What’s new in Sport?!", Question(NEW, "en", channel="sport")),
    ("anything new in technology", Question(NEW, "en", channel="technology")),
    ("is there anything new on C++", Question(NEW, "en", channel="c++")),
    ("show me the latest articles from the travel channel", Question(NEW, "en", channel="travel")),
    ("latest news about food", Question(NEW, "en", channel="food")),
    ("news", Question(NEW, "en")),
    ("similar to 123", Question(SIMILAR, "en", article_id=123)),
    ("  Articles SIMILAR to #123. ", Question(SIMILAR, "en", article_id=123)),
    ("more like article 9", Question(SIMILAR, "en", article_id=9)),
    ("more like this", Question(SIMILAR, "en")),
    ("show me something like that one", Question(SIMILAR, "en")),
    ("more of the same", Question(SIMILAR, "en")),
    ("more", Question(SIMILAR, "en")),
    ("why did I see this?", Question(WHY, "en")),
    ("Why am I seeing article #42?", Question(WHY, "en", article_id=42)),
    ("why was 42 recommended to me", Question(WHY, "en", article_id=42)),
    ("why 42", Question(WHY, "en", article_id=42)),
    ("why?", Question(WHY, "en")),
    ("my orders", Question(ORDERS, "en")),
    ("where is my order?", Question(ORDERS, "en")),
    ("please show me my latest orders", Question(ORDERS, "en")),
    ("help", Question(HELP, "en")),
    ("Hello!", Question(HELP, "en")),
    ("what can I ask you?", Question(HELP, "en")),
]
CHINESE = [
    ("有什么新的", Question(NEW, "zh")),
    ("最近有什么新文章？", Question(NEW, "zh")),
    ("科技频道有什么新的", Question(NEW, "zh", channel="科技")),
    ("科技 有什么新闻吗？", Question(NEW, "zh", channel="科技")),
    ("Sport 最近有什么新的", Question(NEW, "zh", channel="sport")),
    ("最新消息", Question(NEW, "zh")),
    ("类似 123", Question(SIMILAR, "zh", article_id=123)),
    ("和１２３类似的文章", Question(SIMILAR, "zh", article_id=123)),
    ("与 #123 相似", Question(SIMILAR, "zh", article_id=123)),
    ("更多这样的", Question(SIMILAR, "zh")),
    ("再来点类似的！", Question(SIMILAR, "zh")),
    ("像这篇的还有吗", Question(SIMILAR, "zh")),
    ("为什么给我看这个？", Question(WHY, "zh")),
    ("我为什么会看到这篇文章", Question(WHY, "zh")),
    ("为什么推荐 123", Question(WHY, "zh", article_id=123)),
    ("为什么", Question(WHY, "zh")),
    ("我的订单", Question(ORDERS, "zh")),
    ("请帮我查一下我的订单", Question(ORDERS, "zh")),
    ("订单怎么样了", Question(ORDERS, "zh")),
    ("帮助", Question(HELP, "zh")),
    ("你好！", Question(HELP, "zh")),
    ("你能做什么？", Question(HELP, "zh")),
]
NOT_UNDERSTOOD = [
    ("buy bitcoin now", "en"),
    ("I like 12 apples", "en"),
    ("", "en"),
    ("?!", "en"),
    ("42", "en"),
    ("similar to 0", "en"),
    ("similar to 99999999999999999999", "en"),
    ("今天天气不错", "zh"),
]


@pytest.mark.parametrize(("text", "question"), [*ENGLISH, *CHINESE])
def test_the_desk_understands(text: str, question: Question) -> None:
    assert read_question(text) == question


@pytest.mark.parametrize(("text", "language"), NOT_UNDERSTOOD)
def test_the_desk_does_not_guess(text: str, language: str) -> None:
    question = read_question(text)

    assert (question.subject, question.language) == (UNKNOWN, language)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_the_help_offers_is_understood(language: Language) -> None:
    _, *offered = answers.tell(language, "help", channel="Ice & snow").splitlines()

    subjects = [read_question(line).subject for line in offered]
    assert subjects == [NEW, NEW, SIMILAR, SIMILAR, WHY, ORDERS]


@given(st.text(max_size=400))
def test_any_text_is_a_question_in_one_of_two_languages(text: str) -> None:
    question = read_question(text)

    assert question.language == language_of(text)
    assert question.article_id is None or 0 < question.article_id < 2**63


def test_a_channel_is_found_by_name_slug_or_the_beginning_of_one() -> None:
    names = [
        ("for-you", "For you"),
        ("technology", "科技"),
        ("science", "Science & Space"),
        ("c", "C"),
    ]

    assert find_channel("technology", names) == 1
    assert find_channel("科技", names) == 1
    assert find_channel("science&space", names) == 2
    assert find_channel("Sci", names) == 2
    assert find_channel("c", names) == 3
    assert find_channel("gardening", names) is None
    assert find_channel("", names) is None


def test_a_beginning_of_two_channels_is_none_of_them() -> None:
    assert find_channel("s", [("sport",), ("science",)]) is None


def test_an_article_is_named_by_number_and_title_on_one_line() -> None:
    told = answers.list_articles(
        "en", "new_in", [Named(12, "Ice\non  it"), Named(7, "B")], channel="Sport"
    )

    assert told == "New in Sport:\n#12 Ice on it\n#7 B"
    assert answers.find_named(told) == 12
    assert answers.find_named("Sorry, I did not understand that.") is None


@pytest.mark.parametrize(
    "kind", ["popular", "read", "taste", "similar", "fresh", "backlog", "again", "", "of_later"]
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_of_the_idl_is_told(language: Language, kind: str) -> None:
    told = answers.tell_reason(language, Named(12, "Ice"), kind, Named(7, "Snow"))

    assert "#12 Ice" in told
    assert ("#7 Snow" in told) == (kind == "read")
    assert language_of(told) == language


def test_a_reason_without_the_article_that_led_there_names_none() -> None:
    assert answers.tell_reason("en", Named(12, "Ice"), "read", None) == answers.tell_reason(
        "en", Named(12, "Ice"), "popular", None
    )


def test_orders_are_told_with_what_becomes_of_them() -> None:
    unpaid = Placed(9, "unpaid", 1200, "EUR", 1_795_889_100_000)
    told = answers.list_orders("en", [unpaid, unpaid._replace(order_id=8, status="paid")])

    assert told.splitlines()[1:] == [
        "Order 9: 12.00 EUR, not paid; kept until 18:05 UTC",
        "Order 8: 12.00 EUR, paid",
    ]
    assert answers.list_orders("zh", []) == "你没有订单。"


def test_both_languages_have_the_same_sentences() -> None:
    assert answers._TEXTS["en"].keys() == answers._TEXTS["zh"].keys()
    assert answers._REASONS["en"].keys() == answers._REASONS["zh"].keys()


def test_the_documentation_says_what_the_desk_understands() -> None:
    """Each phrase of the table of docs/chat.md, with what its row is about."""
    page = (Path(__file__).parents[3] / "docs" / "chat.md").read_text()
    table = page.partition("| it tells |")[2].partition("\n\n")[0].splitlines()[2:]
    about = [NEW, NEW, SIMILAR, SIMILAR, WHY, WHY, ORDERS, HELP]
    assert len(table) == len(about)
    for subject, line in zip(about, table, strict=True):
        _, _, english, chinese, _ = line.split("|")
        for language, cell in (("en", english), ("zh", chinese)):
            phrases = re.findall(r"`([^`]+)`", cell)
            assert phrases
            for phrase in phrases:
                question = read_question(phrase)
                assert (question.subject, question.language) == (subject, language), phrase
                assert (question.article_id is not None) == ("123" in phrase), phrase
    for phrase in re.findall(r"`([^`]+)`", table[1]):
        assert read_question(phrase).channel in {"technology", "sport", "travel", "科技"}
