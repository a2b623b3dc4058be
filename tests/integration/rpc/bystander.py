"""`python -m tests.integration.rpc.bystander ENDPOINT`: calls until its input ends, and prints what
went wrong.

A process of its own, since hypothesis watches over the random numbers of the one it runs in.
"""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tidings.rpc.calling.client import make_client
from tidings.rpc.calling.policy import Policy
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest

PATIENCE_S = 60
FIRST = 1_000


def main(endpoint: str) -> None:
    policy = Policy(timeout_ms=PATIENCE_S * 1000, connect_timeout_ms=5000)
    with make_client(UserRecommend, [endpoint], policy=policy, caller="bystander") as client:
        for user_id in count(FIRST):
            try:
                answer = client.call("user_recommend", UserRequest(user_id=user_id))
                if answer.exposure != str(user_id):
                    print(f"{user_id} got the answer of {answer.exposure}")
            except Exception as ex:  # noqa: BLE001 - the test is about there being none
                print(repr(ex))
            if user_id == FIRST:
                print("began", flush=True)
            if select.select([sys.stdin], [], [], 0.002)[0]:
                break
    print(f"{user_id - FIRST + 1} calls")


@contextmanager
def bystander(endpoint: str) -> Iterator[list[str]]:
    """Calls inside the block; the list is what it printed, once the block has ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.rpc.bystander", endpoint],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    printed: list[str] = []
    try:
        assert process.stdout.readline() == "began\n"
        yield printed
    finally:
        printed += process.communicate(timeout=2 * PATIENCE_S)[0].splitlines()


if __name__ == "__main__":
    main(sys.argv[1])
