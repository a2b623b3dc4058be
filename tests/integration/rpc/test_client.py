"""A client over its life: before and after a fork, with several servers, to its end."""

from __future__ import annotations

import os

import pytest
from thrift.Thrift import TMessageType

from tests.integration.rpc.conftest import Connect, Serve
from tests.integration.rpc.peers import PATIENCE_S, Conversation, Peer, header_frame
from tests.lab.servers import free_port, wait_until
from tidings.rpc.calling.client import Client, ForkedClientError
from tidings.rpc.errors import ServerFaultError, TransportFaultError, unavailable
from tidings_idl.recommend.ttypes import UserRequest
from tidings_idl.recommend.UserRecommend import user_recommend_result

NO_ANSWER = UserRequest(user_id=1)


# Forks.


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and up
def test_a_client_used_before_a_fork_refuses_after_it(serve: Serve, connect: Connect) -> None:
    """Trap: with a socket opened before `fork`, two workers each got dozens of wrong answers and no
    error."""
    client = connect(serve().endpoint)
    client.call("user_recommend", NO_ANSWER)

    assert _child_ends_as_expected(client, ForkedClientError)
    assert client.call("user_recommend", UserRequest(user_id=8)).exposure == "8"


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_client_first_used_after_a_fork_works(serve: Serve, connect: Connect) -> None:
    """Made while the application is loaded, connected in each worker."""
    client = connect(serve().endpoint)

    assert _child_ends_as_expected(client, None)
    assert client.call("user_recommend", UserRequest(user_id=8)).exposure == "8"


def _child_ends_as_expected(client: Client, expected: type[Exception] | None) -> bool:
    """Call in a forked child, which says by its exit code whether `expected` was raised."""
    pid = os.fork()
    if pid == 0:
        raised: type[Exception] | None = None
        try:
            client.call("user_recommend", NO_ANSWER)
        except Exception as ex:  # noqa: BLE001 - whatever it is, the parent's tests must not go on in the child
            raised = type(ex)
        finally:
            os._exit(raised is not expected)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


# Several servers.


def test_a_call_that_was_not_sent_is_made_elsewhere(serve: Serve, connect: Connect) -> None:
    """One of two endpoints is dead: no caller notices, and soon it is not even asked."""
    client = connect(f"127.0.0.1:{free_port()}", serve().endpoint)

    for number in range(50):
        assert client.call("user_recommend", UserRequest(user_id=number)).exposure == str(number)


def test_a_call_that_was_sent_is_not_made_again(serve: Serve, connect: Connect) -> None:
    """A server that closes after reading may or may not have done the work."""
    calls = []

    def script(conversation: Conversation) -> None:
        calls.append(conversation.read_call())

    with Peer(script) as one, Peer(script) as other:
        client = connect(one.endpoint, other.endpoint)
        with pytest.raises(TransportFaultError):
            client.call("user_recommend", NO_ANSWER)

    assert len(calls) == 1


def test_retries_end_with_their_budget(connect: Connect) -> None:
    """A service that refuses everybody gets a few more calls, not twice as many."""
    refusal = user_recommend_result(error=unavailable("full"))

    def script(conversation: Conversation) -> None:
        while True:
            call = conversation.read_call()
            asked.append(call.headers[b"request-id"])
            conversation.send(header_frame(call.name, TMessageType.REPLY, call.seqid, refusal))

    asked: list[bytes] = []
    with Peer(script) as one, Peer(script) as other:
        client = connect(one.endpoint, other.endpoint, retries_per_s=0, retry_ratio=0.2)
        for _ in range(50):
            with pytest.raises(ServerFaultError, match="full"):
                client.call("user_recommend", NO_ANSWER)

    assert 50 < len(asked) <= 50 + 1 + 50 * 0.2
    assert len(set(asked)) == 50, "both attempts of a call bear the same request id"


def test_a_server_that_says_it_leaves_is_left(serve: Serve, connect: Connect) -> None:
    """Its replies say so while it drains, so no client is on a connection when it closes."""
    leaving, staying = serve(drain_window_s=3600), serve()
    client = connect(leaving.endpoint, staying.endpoint, ejection_s=3600)
    leaving.server.drain()
    wait_until(lambda: not leaving.server.is_ready(), PATIENCE_S, "the drain")
    for number in range(30):
        assert client.call("user_recommend", UserRequest(user_id=number)).exposure == str(number)

    wait_until(lambda: not leaving.server._connections, PATIENCE_S, "the last connection to close")


def test_a_client_that_is_closed_says_so(serve: Serve, connect: Connect) -> None:
    """And leaves no socket behind."""
    running = serve()
    client = connect(running.endpoint)
    client.call("user_recommend", NO_ANSWER)
    client.close()

    wait_until(lambda: not running.server._connections, PATIENCE_S, "the connection to close")
    with pytest.raises(TransportFaultError, match="closed"):
        client.call("user_recommend", NO_ANSWER)
