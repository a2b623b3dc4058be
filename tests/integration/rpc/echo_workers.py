"""`python -m tests.integration.rpc.echo_workers BIND WORKERS FOLDER [OPTION=VALUE…]`: a master and
echoing workers.

An answer's `exposure` is the reader asked for, its `time_stamp` the id of the process that
answered; reader KILLS kills that process, reader LEAVES has a thread of it get a SIGTERM, reader
SLOW has FOLDER/slow made, and takes until FOLDER/slow-ends is there. If FOLDER has a file `broken`,
workers cannot start; while it has `loading`, they come further with their start, and while it has
`hanging`, they do not. The option `start_s` is how long a master bears that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidings.process.boot import prepare_var_dir
from tidings.process.errors import CannotStartError
from tidings.process.logs import configure_logging
from tidings.process.settings import read_settings
from tidings.process.shared_metrics import share_metrics

KILLS, LEAVES, SLOW = 0x6B696C6C, 0x6C656176, 0x736C6F77  # nobody comes upon these by chance


def main(bind: str, count: str, folder: str, *given: str) -> int:
    settings = read_settings(None, var_dir=Path(folder), log_format="json")
    prepare_var_dir(settings)
    configure_logging(settings, "echo")
    files = share_metrics(settings.site.var_dir, "echo", bind)
    Path(folder, "metrics-files").write_text(str(files))

    from tests.integration.rpc.conftest import Handler
    from tidings.process import master as master_module
    from tidings.process.handover import Handover
    from tidings.process.listening import bind_for_each
    from tidings.process.master import Master
    from tidings.process.metrics import serve_metrics
    from tidings.process.worker import Progress
    from tidings.rpc.errors import invalid
    from tidings.rpc.serving.options import ServerOptions
    from tidings.rpc.serving.server import Server, make_server
    from tidings_idl.recommend import UserRecommend
    from tidings_idl.recommend.ttypes import ArticleResponse, UserRequest

    chosen: dict[str, Any] = {"drain_window_s": 0.2, "drain_timeout_s": 60, "io_timeout_s": 60}
    for pair in given:
        name, _, value = pair.partition("=")
        chosen[name] = float(value)
    master_module.START_S = chosen.pop("start_s", master_module.START_S)
    metrics_bind = Path(folder, "metrics-bind")

    def recommend(request: UserRequest) -> ArticleResponse:
        if request is None:
            raise invalid({"request": "there is none"})
        if request.user_id == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if request.user_id == LEAVES:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        if request.user_id == SLOW:
            Path(folder, "slow").touch()
            while not Path(folder, "slow-ends").exists():
                time.sleep(0.01)
        return ArticleResponse(exposure=str(request.user_id), time_stamp=os.getpid(), recommends=[])

    @contextmanager
    def working(
        listener: socket.socket, handover: Handover, progress: Progress
    ) -> Iterator[Server]:
        if Path(folder, "broken").exists():
            raise CannotStartError("the folder says that this is broken")
        while Path(folder, "loading").exists():  # as long as a test wishes
            progress()
            time.sleep(0.05)
        while Path(folder, "hanging").exists():
            time.sleep(0.05)
        yield make_server(
            UserRecommend,
            Handler(recommend),
            listener,
            options=ServerOptions(**chosen),
            handover=handover,
        )

    master = Master(int(count), bind_for_each(int(count), bind), working, stop_within_s=90)
    stop_metrics = (
        serve_metrics(metrics_bind.read_text(), master.is_ready) if metrics_bind.exists() else None
    )
    try:
        master.run()
    except CannotStartError as ex:
        print(f"echo: {ex}", file=sys.stderr)
        return 2
    if stop_metrics is not None:
        stop_metrics()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
