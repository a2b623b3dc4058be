"""One reader's feed: a fresh page, every page before it, a click, a refused request, and the
server's health.

    python client.py HOST PORT USER_ID CHANNEL_ID

Nothing but Apache Thrift's own package, and stubs generated from `idl/`. A connection carries one
call at a time; threads must not share it.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "build" / "src"))

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

from tidings_idl.base.ttypes import Error, HealthProbe
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import ArticleResponse, Event, ReportRequest, UserRequest, Verdict

TIMEOUT_MS = 2000


def ids(page: ArticleResponse) -> str:
    return " ".join(str(article.article_id) for article in page.recommends)


def show(client: UserRecommend.Client, user_id: int, channel_id: int) -> None:
    def ask(stamp: int, article_num: int) -> ArticleResponse:
        return client.user_recommend(UserRequest(user_id, channel_id, article_num, stamp))

    fresh = ask(0, 10)
    print("fresh", ids(fresh))

    stamp = fresh.time_stamp
    while stamp != 0:
        page = ask(stamp, 10)
        print("history", stamp, ids(page))
        stamp = page.time_stamp

    for article in fresh.recommends[:1]:
        click = Event(article.track.click, int(time.time() * 1000))
        (verdict,) = client.report(ReportRequest([click])).verdicts
        print("click", Verdict._VALUES_TO_NAMES[verdict])

    try:
        ask(0, 101)
    except Error as ex:
        print(f"error {ex.code} article_num: {ex.details['article_num']}")

    print("ready", "yes" if client.is_healthy(HealthProbe.READINESS) else "no")


def main(host: str, port: str, user_id: str, channel_id: str) -> None:
    socket = TSocket(host, int(port))
    socket.setTimeout(TIMEOUT_MS)  # for connecting, for each read and for each write
    transport = TFramedTransport(socket)
    transport.open()
    try:
        client = UserRecommend.Client(TBinaryProtocolAccelerated(transport))
        show(client, int(user_id), int(channel_id))
    finally:
        transport.close()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print("usage: client HOST PORT USER_ID CHANNEL_ID", file=sys.stderr)
        sys.exit(2)
    # What the library logs it raises as well.
    logging.getLogger("thrift").addHandler(logging.NullHandler())
    try:
        main(*sys.argv[1:])
    except Error as ex:
        sys.exit(f"client: {ex.message}")
    except TException as ex:
        sys.exit(f"client: {ex}")
