"""Why an article is there: said with each article of a feed, and for a whole feed to operators; and
what is near to an article."""

from __future__ import annotations

from typing import Any

import pytest

from services.recommender.features import FEATURES
from services.recommender.reasons import KINDS, reason_for
from tests.integration.recommender.serving import PATIENCE_S, READER, Recommender, ids_of
from tests.lab.newsroom import NOW_MS, SECOND_MS
from tests.lab.servers import free_port
from tidings import client
from tidings.client import TidingsClient
from tidings.rpc.errors import CallerFaultError, ExpectedError
from tidings_idl.recommend.ttypes import (
    Context,
    ExplainRequest,
    ExplainResponse,
    SimilarRequest,
    UserRequest,
)


@pytest.fixture
def recommender(recommender: Recommender) -> Recommender:
    """Forty articles in channel 1, of which other readers read 1, then 2 and 3, and many 30."""
    recommender.newsroom.articles(40, channel_id=1, published_ms=NOW_MS - SECOND_MS)
    recommender.catalogue.refresh()
    for reader_id in range(100, 120):
        recommender.click(reader_id, 1, 2, 3)
        recommender.click(reader_id + 1000, 30)
    return recommender


def asking(recommender: Recommender) -> TidingsClient:
    return TidingsClient(f"127.0.0.1:{recommender.server.port}", timeout_ms=PATIENCE_S * 1000)


def explain(recommender: Recommender, **asked: Any) -> ExplainResponse:
    response: ExplainResponse = recommender.client.call(
        "explain", ExplainRequest(user_id=READER, **asked)
    )
    return response


def near(recommender: Recommender, article_id: int, article_num: int = 10) -> list[Any]:
    response = recommender.client.call("similar_articles", SimilarRequest(article_id, article_num))
    neighbours: list[Any] = response.neighbours
    return neighbours


def test_each_article_of_a_fresh_batch_says_why_it_is_there(recommender: Recommender) -> None:
    """What many read is popular, what nobody has read yet is new; and the channel's rest."""
    reasons = {
        article.article_id: article.reason for article in recommender.ask(article_num=40).recommends
    }

    assert (reasons[30].kind, reasons[30].article_id) == ("popular", 0)
    assert {reason.kind for reason in reasons.values()} <= {*KINDS.values()}
    assert "fresh" in {reason.kind for reason in reasons.values()}


def test_history_keeps_each_articles_source_variant_and_context(recommender: Recommender) -> None:
    """Whichever process shows a batch again signs what the first one signed."""
    stamp_ms = recommender.clock()
    first = recommender.ask(context=Context("mobile", "search"))
    recommender.clock.advance(SECOND_MS)
    again = recommender.ask(stamp_ms)

    assert ids_of(first) == ids_of(again)
    tokens = [
        [recommender.read(article.track.click) for article in page.recommends]
        for page in (first, again)
    ]
    assert tokens[0] == tokens[1]
    assert {(shown.variant, shown.context) for shown in tokens[0]} == {(0, 2 << 4 | 3)}
    assert recommender.read(first.exposure).context == 2 << 4 | 3
    kinds = [[article.reason.kind for article in page.recommends] for page in (first, again)]
    assert kinds[0] == kinds[1]


def test_only_what_is_among_the_best_was_crowded_out(recommender: Recommender) -> None:
    """What scores less than the places there are is weaker, at mix as at the cut."""
    told = explain(recommender, article_num=10)
    at_mix = [left for left in told.dropped if left.step == "mix"]
    scores = sorted(
        [one.score for one in told.articles] + [left.score for left in at_mix], reverse=True
    )

    assert {left.why for left in at_mix if left.score < scores[9]} == {"weaker"}
    assert {left.why for left in at_mix if left.score > scores[9]} <= {"crowded_out"}


def test_what_is_excluded_is_not_shown(recommender: Recommender) -> None:
    excluded = [30, 1, 1, 10**12, -5]

    ids = ids_of(recommender.ask(article_num=100, context=Context(exclude=excluded)))

    assert sorted(ids) == sorted({*range(1, 41)} - {1, 30})


def test_a_context_of_another_release_is_none_and_too_many_exclusions_are_refused(
    recommender: Recommender,
) -> None:
    strange = recommender.ask(context=Context("toaster", "", None))
    assert recommender.read(strange.exposure).context == 0

    with pytest.raises(CallerFaultError) as caught:
        recommender.ask(context=Context(exclude=[1] * 1001))
    assert set(caught.value.details) == {"exclude"}
    assert caught.value.code == 422


def test_the_client_refuses_too_many_exclusions_before_it_sends_them(
    recommender: Recommender,
) -> None:
    """A thousand are taken; the connection stays open for the next call."""
    with TidingsClient(
        f"127.0.0.1:{recommender.server.port}", timeout_ms=PATIENCE_S * 1000
    ) as tidings:
        assert tidings.feed(READER, context=client.Context(exclude=range(2, 1002))).articles
        for call in (tidings.feed, tidings.explain):
            with pytest.raises(client.CallerFaultError, match="at most 1000 articles, got 4097"):
                call(READER, context=client.Context(exclude=range(4097)))
        assert tidings.feed(READER).articles

    with pytest.raises(client.CallerFaultError) as caught:
        TidingsClient(f"127.0.0.1:{free_port()}").feed(
            READER, context=client.Context(exclude=range(1001))
        )
    assert (caught.value.code, set(caught.value.details)) == (422, {"exclude"})


def test_an_explanation_names_source_features_score_and_what_fell_out(
    recommender: Recommender,
) -> None:
    """And it is what the next feed then is."""
    seen = ids_of(recommender.ask(article_num=3))
    story = explain(recommender, article_num=5)

    assert ids_of(recommender.ask(article_num=5)) == [one.article_id for one in story.articles]
    best = story.articles[0]
    assert best.strengths[best.source] > 0
    assert {*best.features} == {*FEATURES}
    assert all(one.score >= 0 for one in story.articles)
    assert {"recall", "filter", "rank", "mix"} <= {*story.step_ms}
    assert (story.variant, story.model) == (0, "blend")
    dropped = {one.article_id: one for one in story.dropped}
    assert {dropped[id_].why for id_ in seen if id_ in dropped} <= {"seen"}
    steps = [one.step for one in story.dropped]
    assert steps == sorted(steps, key=["mix", "cut", "filter"].index)
    assert not {one.article_id for one in story.articles} & {*dropped}


def test_an_explanation_records_nothing(recommender: Recommender) -> None:
    first, second = ([one.article_id for one in explain(recommender).articles] for _ in range(2))

    assert first == second
    assert recommender.ask().time_stamp == 0


def test_neighbours_are_what_those_who_read_it_read_next(recommender: Recommender) -> None:
    neighbours = near(recommender, 1)

    assert [one.article_id for one in neighbours][:2] == [2, 3]
    assert neighbours[0].score == 1.0
    assert [one.score for one in neighbours] == sorted(
        (one.score for one in neighbours), reverse=True
    )
    assert 1 not in {one.article_id for one in neighbours}
    assert len(near(recommender, 1, 1)) == 1


def test_an_article_without_neighbours_has_none(recommender: Recommender) -> None:
    assert near(recommender, 40) == []
    assert near(recommender, 10**15) == []


def test_a_neighbour_that_was_taken_down_is_none(recommender: Recommender) -> None:
    recommender.newsroom.change(2, status="taken_down")
    recommender.catalogue.refresh()

    assert 2 not in {one.article_id for one in near(recommender, 1)}


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("similar_articles", SimilarRequest(0), {"article_id"}),
        ("similar_articles", SimilarRequest(None, 101), {"article_id", "article_num"}),
        ("similar_articles", None, {"request"}),
        ("explain", ExplainRequest(0, -1, 0), {"user_id", "channel_id", "article_num"}),
        ("explain", None, {"request"}),
        ("user_recommend", UserRequest(0, 0, 101, -1), {"user_id", "article_num", "time_stamp"}),
    ],
)
def test_what_is_out_of_range_is_named(
    recommender: Recommender, method: str, request_: Any, fields: set[str]
) -> None:
    with pytest.raises(CallerFaultError) as caught:
        recommender.client.call(method, request_)
    assert set(caught.value.details) == fields


def test_an_explanation_for_a_channel_that_is_not_there_is_not_found(
    recommender: Recommender,
) -> None:
    with pytest.raises(ExpectedError) as caught:
        explain(recommender, channel_id=99)
    assert caught.value.code == 404


def test_every_source_has_a_reason_and_no_other_name_has(recommender: Recommender) -> None:
    """One that is added without a reason would say nothing to readers, and nobody would see it."""
    story = explain(recommender)

    assert all(reason_for(name) is not None for one in story.articles for name in one.strengths)
    assert reason_for("a source of another release") is None
    assert reason_for("neighbours") == ("popular", 0)
    assert reason_for("neighbours", 12) == ("read", 12)


def test_a_program_in_python_gets_all_of_it_as_plain_data(recommender: Recommender) -> None:
    """Context, reasons, neighbours and an explanation, through `TidingsClient`."""
    with TidingsClient(
        f"127.0.0.1:{recommender.server.port}", timeout_ms=PATIENCE_S * 1000
    ) as tidings:
        story = tidings.explain(READER, article_num=5)
        came = client.Context("tablet", "social", exclude=[30])
        feed = tidings.feed(READER, article_num=40, context=came)
        near = tidings.similar(1, 2)
        history = tidings.explain(READER, channel_id=1)

    assert story.articles[0].article_id in {2, 3, 30}
    assert story.articles[0].reason == client.Reason("popular")
    assert {one.step for one in story.dropped} <= {"mix", "cut", "filter"}
    assert 30 not in {article.article_id for article in feed.articles}
    assert all(article.reason is not None for article in feed.articles)
    assert recommender.read(feed.articles[0].click).context == 3 << 4 | 4
    assert [one.article_id for one in near] == [2, 3]
    assert {one.why for one in history.dropped} >= {"seen"}
