"""The vectors of articles: near for those about the same, in any script, and bounded."""

import numpy as np
import pytest

from services.recommender.texts import NO_WORDS, Texts, make_texts, read_words

FERRY, ISLANDS, BUDGET = 7, 8, 9
TEXTS = {
    FERRY: "Ferry fares to the islands rise in spring",
    ISLANDS: "The last ferry to the islands sails late",
    BUDGET: "Council passes a smaller budget for schools",
}
ONE = np.ones(1, np.float32)


def ids(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


def test_the_nearest_article_is_the_one_with_the_same_words() -> None:
    found, scores = make_texts(TEXTS).similar(FERRY, most=10)
    assert found.tolist()[0] == ISLANDS
    assert 0 < scores[0] < 1


def test_an_article_is_not_similar_to_itself_and_an_unknown_one_to_nothing() -> None:
    texts = make_texts(TEXTS)
    assert FERRY not in texts.similar(FERRY, most=10)[0]
    assert not len(texts.similar(404, most=10)[0])
    assert not len(Texts(NO_WORDS).similar(FERRY, most=10)[0])


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("北京大学今天开学", "北京大学的新学期", "上海股市下跌"),
        ("นักเรียนไปโรงเรียนวันนี้", "โรงเรียนปิดวันนี้", "ราคาน้ำมันขึ้น"),
        ("東京の天気は晴れ", "東京の天気は雨", "株価が下がった"),
        ("समाचार आज दिल्ली", "दिल्ली के समाचार", "क्रिकेट मैच"),
        ("Выборы в городе", "городе прошли выборы", "Погода завтра"),
    ],
)
def test_any_script_is_compared_by_its_words(one: str, same: str, other: str) -> None:
    texts = make_texts({1: one, 2: same, 3: other})
    found, scores = texts.similar(1, most=1)
    assert found.tolist() == [2]
    assert scores[0] > 0.1


def test_a_profile_of_several_articles_is_near_to_each_and_says_where_a_word_is_from() -> None:
    texts = make_texts({**TEXTS, 10: "The ferry is full", 11: "Schools reopen"})
    profile = texts.profile(ids(FERRY, BUDGET), np.ones(2, np.float32))
    assert profile is not None
    cosines = texts.cosines(profile, ids(10, 11, 404))
    assert cosines[0] > 0.05
    assert cosines[1] > 0.05
    assert cosines[2] == 0
    assert texts.origins(profile, ids(10, 11)).tolist() == [FERRY, BUDGET]


def test_articles_without_known_text_have_no_profile() -> None:
    assert make_texts({1: "", 2: "!?"}).profile(ids(1, 2, 404), np.ones(3, np.float32)) is None
    assert Texts(NO_WORDS).profile(ids(1), ONE) is None


def test_nearly_the_same_text_has_nearly_the_same_print() -> None:
    words = [f"word{number}" for number in range(60)]
    texts = make_texts(
        {1: " ".join(words), 2: " ".join([*words[:-1], "changed"]), 3: TEXTS[BUDGET], 4: ""}
    )
    prints = texts.prints(ids(1, 2, 3, 404))
    assert np.bitwise_count(prints[0] ^ prints[1]) <= 8
    assert np.bitwise_count(prints[0] ^ prints[2]) > 16
    assert prints[3] == 0


def test_an_article_that_is_read_anew_loses_its_old_words_and_one_that_goes_all() -> None:
    words = NO_WORDS.changed(TEXTS, dict.fromkeys(TEXTS, 1))
    words = words.changed({ISLANDS: "Council passes a smaller budget"}, {ISLANDS: 2})
    assert words.stamps.tolist() == [1, 2, 1]
    texts = Texts(words)
    assert texts.similar(BUDGET, most=1)[0].tolist() == [ISLANDS]
    assert not len(texts.similar(FERRY, most=1)[0])
    assert Texts(words.without(ids(ISLANDS, 404))).similar(BUDGET, most=1)[0].tolist() == []


def test_the_same_text_has_the_same_words_in_every_process() -> None:
    assert sorted(read_words("Ferry fares")) == [7187, 59084]
