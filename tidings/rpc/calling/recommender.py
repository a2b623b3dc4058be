"""The client of the site's own recommenders, as its settings have it: which, and how they are
trusted.

The gateway asks for pages by it, and the chat for the answers of the editors' desk. Rejected:
`TidingsClient`, which is for programs that have no settings of ours, and counts nothing.

    client = make_recommender(settings.recommender, caller="chat", timeout_ms=2000, pool_size=8)
    client.call("similar_articles", SimilarRequest(article_id=12))
"""

from __future__ import annotations

from tidings.process.errors import PREFIX
from tidings.process.settings.recommender import RecommenderSettings
from tidings.rpc.calling.client import Client, make_client
from tidings.rpc.calling.metrics import METRICS
from tidings.rpc.calling.policy import Policy
from tidings.rpc.tls import ClientTls, TlsOptions, make_client_tls
from tidings_idl.recommend import UserRecommend


def make_recommender(
    recommender: RecommenderSettings, *, caller: str, timeout_ms: int, pool_size: int
) -> Client:
    """A client that has connected to nothing yet.

    Args:
        recommender: which ones, and how they are trusted.
        caller: the name of this process, for their logs.
        timeout_ms: longest that a call may take.
        pool_size: connections to each.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    policy = Policy(timeout_ms=timeout_ms, pool_size=pool_size, tls=make_tls(recommender))
    return make_client(
        UserRecommend, recommender.endpoints, policy=policy, caller=caller, observer=METRICS
    )


def make_tls(recommender: RecommenderSettings) -> ClientTls | None:
    """How to speak to the recommenders; None is plain text.

    Raises:
        SettingsError: a file cannot be used, or plain text would leave this machine.
    """
    options = TlsOptions(
        cert=recommender.tls_cert,
        key=recommender.tls_key,
        ca=recommender.tls_ca,
        name=recommender.tls_name,
        allow_plaintext=recommender.allow_plaintext,
        prefix=f"{PREFIX}RECOMMENDER_",
    )
    return make_client_tls(options, recommender.endpoints)
