"""What every request goes through, in one order, whichever program answers it.

The order is what matters: a request has an id and a deadline before anything can fail, foreign
writes are refused before a caller is told, and a caller is told before it is counted. Two programs
that each list their middleware would drift apart. Rejected: a base class of apps; Falcon's own is
enough.

    app = make_door(deadline_ms=2000, origins=origins, signer=signer, …)
    add_routes(app, {"/health/live": health})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import falcon

from tidings.http.caching import AnswerCaching
from tidings.http.caller import TellCaller
from tidings.http.limits import Limits, Quotas
from tidings.http.methods import AnswerForServer, with_head
from tidings.http.origins import EXPOSED, Origins, RefuseForeignWrites
from tidings.http.problems import answer_problem
from tidings.http.reader_id import ReaderSigner
from tidings.http.request_scope import RequestScope
from tidings.readers.checking import KeyCheck
from tidings.store.windows import SlidingWindows

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"


def make_door(
    *,
    deadline_ms: int,
    origins: Origins,
    signer: ReaderSigner,
    keys: KeyCheck,
    windows: SlidingWindows,
    quotas: Quotas,
) -> App:
    """An app without a route.

    Args:
        deadline_ms: the budget of one request.
        origins: whose pages may read answers and write.
        signer: signs and reads readers' ids.
        keys: tells the keys of programs and staff.
        windows: count what is asked for.
        quotas: how much may be asked for.
    """
    app: App = falcon.App()
    app.add_middleware(RequestScope(deadline_ms))
    app.add_middleware(AnswerForServer())
    app.add_middleware(AnswerCaching(varies_by_origin=bool(origins.allowed)))
    if origins.allowed:
        app.add_middleware(
            falcon.CORSMiddleware(
                allow_origins=origins.allowed,
                allow_credentials=origins.allowed,
                expose_headers=EXPOSED,
            )
        )
    app.add_middleware(RefuseForeignWrites(origins, signer))
    limits = Limits(windows, quotas)
    app.add_middleware(TellCaller(signer, keys, limits.may_mint, limits.count_refused_key))
    app.add_middleware(limits)
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, answer_problem)
    app.add_error_handler(falcon.HTTPError, answer_problem)
    return app


def add_routes(app: App, routes: Mapping[str, object]) -> None:
    """Serve these; what answers GET answers HEAD, too."""
    for path, resource in routes.items():
        app.add_route(path, with_head(resource))
