"""An upgrade while the site serves: the database is new already, and the processes are not."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.e2e.conftest import StartSite
from tests.lab.servers import wait_until
from tidings.process.asking import answers_ready
from tidings.store.engine import make_engine, transaction
from tidings.store.schema import schema_reader


@pytest.mark.long
def test_an_old_worker_that_restarts_on_a_compatible_newer_schema_goes_on_serving(
    new_site: StartSite,
) -> None:
    """Trap: only the same revision was accepted, so that each crash during an upgrade took a
    process away until the upgrade was over."""
    with new_site() as site:
        site.wait_until_ready()
        engine = make_engine(site.settings.database)
        with transaction(engine) as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            assert conn.scalar(schema_reader.select().with_only_columns(schema_reader.c.min_reader))
        engine.dispose()
        doors = {
            "services.recommender": site.settings.recommender.metrics_bind,
            "jobs": site.settings.jobs.metrics_bind,
            "gateway": site.settings.gateway.metrics_bind,
        }
        for module, door in doors.items():
            before = site.find(module)
            before.kill()
            before.wait(60)
            wait_until(lambda door=door: answers_ready(door), 30, f"{module} to be back")  # type: ignore[misc]
        feed = site.reader().get("/articles?channel_id=0")
        assert site.stop() == 0

    assert feed.json["served_from"] == "personal"
    assert "revision 9999" not in site.output
