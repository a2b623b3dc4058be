"""The recommender for programs written in Python: typed calls, with connections, deadlines and
retries inside.

    with TidingsClient("127.0.0.1:9090") as tidings:
        feed = tidings.feed(user_id=7)
        tidings.report([Event(feed.articles[0].click)])
        for page in tidings.history(user_id=7, before_ms=feed.before_ms):
            ...

A call that fails raises by whose fault it was:

    TidingsError
    ├── MisconfiguredError      an endpoint or a certificate cannot be used; only when it is made
    ├── CallerFaultError        the request is wrong, and `details` says in which field
    ├── ExpectedError           an answer that is no failure
    │   └── NotFoundError       there is no such channel
    ├── ServerFaultError        the service says that it could not
    ├── TransportFaultError     what became of the call is unknown, unless its `sent` is False
    └── DeadlineExceededError   there was no answer in time

What comes back is plain frozen data, so that no caller depends on what the Thrift compiler makes of
the IDL; and a program that imports this loads Thrift and nothing else, no settings of ours and no
metrics. Rejected: handing out the generated classes, which carry no annotations and change with the
compiler.
"""

from __future__ import annotations

from tidings.client.calls import MOST_EVENTS, MOST_EXCLUDED, TidingsClient
from tidings.client.errors import (
    CallerFaultError,
    DeadlineExceededError,
    ExpectedError,
    MisconfiguredError,
    NotFoundError,
    ServerFaultError,
    TidingsError,
    TransportFaultError,
)
from tidings.client.values import (
    Article,
    Context,
    Dropped,
    Event,
    Explained,
    Explanation,
    Feed,
    Neighbour,
    Reason,
    Verdict,
)
from tidings.rpc.calling.policy import Policy
from tidings.rpc.tls import TlsFiles

__all__ = [
    "MOST_EVENTS",
    "MOST_EXCLUDED",
    "Article",
    "CallerFaultError",
    "Context",
    "DeadlineExceededError",
    "Dropped",
    "Event",
    "ExpectedError",
    "Explained",
    "Explanation",
    "Feed",
    "MisconfiguredError",
    "Neighbour",
    "NotFoundError",
    "Policy",
    "Reason",
    "ServerFaultError",
    "TidingsClient",
    "TidingsError",
    "TlsFiles",
    "TransportFaultError",
    "Verdict",
]

# The names of the first release, for one more release.
RpcError = TidingsError
CallerFault = CallerFaultError
Expected = ExpectedError
ServerFault = ServerFaultError
TransportFault = TransportFaultError
DeadlineExceeded = DeadlineExceededError
