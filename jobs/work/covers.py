"""The static jobs that fetch the covers of articles, and sweep what is left of pictures.

Each host is asked by one thread at a time, with a pause, and a few hosts at once, those with the
fewest covers first: a server that drips, or a feed's first import, holds up its own pictures alone.
A run ends with its minute; what it did not come to is due in the next. Rejected: a delayed job for
each cover; a feed's first import would make thousands, all of them for one host.

    STATIC_JOBS = (StaticJob("covers", "* * * * *", fetch_covers, missed="skip"),)
"""

from __future__ import annotations

import io
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

import prometheus_client
import structlog
from sqlalchemy.exc import SQLAlchemyError

from jobs.static.context import Context, JobFailedError, Routine, Run
from tidings.importing.addresses import FetchRules
from tidings.importing.fetching import FetchError, fetch
from tidings.importing.pictures import (
    MAX_BYTES,
    MIN_COVER_WIDTH,
    Picture,
    PictureError,
    PicturesBusyError,
    read_picture,
)
from tidings.news.articles import Articles
from tidings.news.due_covers import (
    PAUSES,
    DueCover,
    find_due_covers,
    give_up_cover,
    keep_cover,
    postpone_covers,
    retry_cover,
)
from tidings.news.images import COVERS_JOB, FOLDER, Image, Images, ImagesFullError, record_image
from tidings.process.clock import now_ms
from tidings.store.engine import transaction

# That a run looks at. It comes to far fewer of one host, whose others must not hide other hosts'.
MOST_COVERS = 5000
HOSTS_AT_ONCE = 8
FETCH_DEADLINE_S = 20
# Between two pictures of one host.
PAUSE_S = 1.0
# The run of the next minute goes on.
RUN_S = 45
# Room comes by an operator's setting, or by articles that are deleted.
WHEN_FULL = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of a cover that was due."""

    KEPT = "kept"
    REFUSED = "refused"
    FAILED = "failed"
    GIVEN_UP = "given_up"
    POSTPONED = "postponed"
    NOT_WRITTEN = "not_written"


_COVERS = prometheus_client.Counter(
    "tidings_covers", "Covers of articles that were to be fetched, by outcome", ["outcome"]
)


def fetch_covers(run: Run) -> str:
    """Fetch the covers that are due, and keep them as pictures of the site's own."""
    context = run.context
    if context.settings.content.covers == "linked":
        return Routine("covers are linked")
    with transaction(context.engine) as conn:
        due = find_due_covers(conn, run.now, limit=MOST_COVERS)
        if len(due) == MOST_COVERS:
            # What this run does not come to is behind what it does not look at.
            postpone_covers(conn, [cover.article_id for cover in due], run.now)
    if not due:
        return Routine("no cover is due")
    task = _Task(run)
    if not task.make_room():
        with transaction(context.engine) as conn:
            postpone_covers(conn, [cover.article_id for cover in due], run.now + WHEN_FULL)
        raise JobFailedError(
            f"{len(due)} covers wait for an hour: articles show all the pictures that "
            "TIDINGS_IMAGES_MAX_MIB has room for"
        )
    by_host: dict[str, list[DueCover]] = defaultdict(list)
    for cover in due:
        by_host[_host(cover.url)].append(cover)
    with ThreadPoolExecutor(HOSTS_AT_ONCE, thread_name_prefix="covers") as pool:
        few_first = sorted(by_host.values(), key=len)
        counts = sum(pool.map(task.fetch_host, few_first), Counter[Outcome]())
    for outcome, number in counts.items():
        _COVERS.labels(outcome).inc(number)
    told = ", ".join(f"{counts[outcome]} {outcome.replace('_', ' ')}" for outcome in Outcome)
    if counts[Outcome.NOT_WRITTEN]:
        raise JobFailedError(f"covers: {told}; the first reason: {task.not_written}")
    return f"covers: {told}"


def sweep_images(run: Run) -> str:
    """Delete files of pictures that no row knows, which a crash leaves behind."""
    swept = _images(run.context).sweep(run.context.engine)
    summary = f"{swept} files of pictures deleted"
    return summary if swept else Routine(summary)


class _Task:
    """One run: where pictures go, and until when new ones are asked for."""

    def __init__(self, run: Run) -> None:
        self._context, self._now = run.context, run.now
        self._ends_s = time.monotonic() + RUN_S
        self._rules = FetchRules.of(run.context.settings)
        self._images = _images(run.context)
        self._max_bytes = run.context.settings.content.images_max_bytes
        self._articles = Articles(
            run.context.engine,
            run.context.redis,
            card_ttl_s=run.context.settings.gateway.card_ttl_s,
            clock=now_ms,
        )
        self.not_written = ""

    def make_room(self) -> bool:
        """Whether there is room for more pictures, once those that no article shows have gone."""
        return self._images.make_room(
            self._context.engine, now=self._now, max_bytes=self._max_bytes
        )

    def fetch_host(self, covers: Sequence[DueCover]) -> Counter[Outcome]:
        """Fetch the covers of one host, one after the other; if it does not answer, the rest of
        them wait."""
        counts: Counter[Outcome] = Counter()
        for place, cover in enumerate(covers):
            if self._is_over(pause_s=PAUSE_S if place else 0):
                break
            try:
                outcome, host_answers = self._try(cover)
                counts[outcome] += 1
                if not host_answers:
                    counts[Outcome.POSTPONED] += self._postpone(covers[place + 1 :])
                    break
            except (ImagesFullError, OSError, SQLAlchemyError) as ex:
                # Neither this host nor its pictures are at fault, and they stay due.
                log.error("cover_not_written", article=cover.article_id, error=repr(ex))
                self.not_written = self.not_written or str(ex)
                counts[Outcome.NOT_WRITTEN] += 1
                break
        return counts

    def _is_over(self, *, pause_s: float) -> bool:
        return self._context.stopping.wait(pause_s) or time.monotonic() > self._ends_s

    def _try(self, cover: DueCover) -> tuple[Outcome, bool]:
        """What became of one cover, and whether its host answers."""
        try:
            return self._keep(cover, self._fetch(cover)), True
        except FetchError as ex:
            log.info("cover_not_fetched", article=cover.article_id, url=cover.url, error=str(ex))
            return self._retry(cover), ex.status is not None
        except PictureError as ex:
            log.info("cover_refused", article=cover.article_id, url=cover.url, error=str(ex))
            return self._refuse(cover), True
        except PicturesBusyError:
            return Outcome.POSTPONED, True

    def _fetch(self, cover: DueCover) -> Picture:
        target = io.BytesIO()
        fetch(
            cover.url,
            target,
            max_bytes=MAX_BYTES,
            deadline_s=FETCH_DEADLINE_S,
            rules=self._rules,
        )
        picture = read_picture(target.getvalue())
        if picture.width < MIN_COVER_WIDTH:
            raise PictureError(f"only {picture.width} pixels wide")
        return picture

    def _keep(self, cover: DueCover, picture: Picture) -> Outcome:
        found = Image(picture.digest, picture.width, picture.height, len(picture.data))
        self._images.write(found.digest, picture.data)
        with transaction(self._context.engine) as conn:
            record_image(conn, found, added_by=COVERS_JOB, at=self._now, max_bytes=self._max_bytes)
            if not keep_cover(conn, cover, found.digest):
                # The article names another one by now, which is due by itself.
                return Outcome.POSTPONED
            self._articles.forget_after(conn, [cover.article_id])
        return Outcome.KEPT

    def _retry(self, cover: DueCover) -> Outcome:
        with transaction(self._context.engine) as conn:
            is_tried_again = retry_cover(conn, cover, self._now)
        return Outcome.FAILED if is_tried_again else Outcome.GIVEN_UP

    def _refuse(self, cover: DueCover) -> Outcome:
        with transaction(self._context.engine) as conn:
            give_up_cover(conn, cover)
        return Outcome.REFUSED

    def _postpone(self, covers: Sequence[DueCover]) -> int:
        if covers:
            ids = [cover.article_id for cover in covers]
            with transaction(self._context.engine) as conn:
                postpone_covers(conn, ids, self._now + PAUSES[0])
        return len(covers)


def _images(context: Context) -> Images:
    return Images(context.settings.site.var_dir / FOLDER)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return url
