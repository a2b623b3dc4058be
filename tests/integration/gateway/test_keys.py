"""Keys at a running gateway of two workers: made, used and revoked at a shell beside it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.lab.servers import wait_until
from tests.lab.sites import PATIENT, Answer, Reader
from tidings.commands.main import main
from tidings.readers.checking import REMEMBERED_S

DEADLINE_S = 30
ASKED = 20  # so often that either worker is asked


class Shell:
    """A shell at the gateway's site, and a program with a key that it made."""

    def __init__(self, gateway: GatewaySite) -> None:
        self._gateway = gateway
        self.key = self.type("keys", "add", "importer", "--role", "author").strip()

    def type(self, *words: str) -> str:
        done = CliRunner().invoke(main, words, env=self._gateway.site.settings)
        assert done.exit_code == 0, done.output
        return done.stdout

    def ask(self) -> Answer:
        """On a connection of its own, which either worker may take."""
        reader = Reader(f"http://127.0.0.1:{self._gateway.port}")
        return reader.send("GET", "/reader", headers={"Authorization": f"Bearer {self.key}"})

    def last_used_at(self) -> str | None:
        (row,) = self.type("keys", "list", "--json").splitlines()
        used: str | None = json.loads(row)["last_used_at"]
        return used


@pytest.mark.long
def test_a_key_opens_the_door_until_it_is_revoked_and_no_second_longer(tmp_path: Path) -> None:
    """Both workers have used it, and neither is told. What they read once they forget."""
    with start_gateway(tmp_path, gateway_workers=2, **PATIENT) as gateway:
        shell = Shell(gateway)
        answers = [shell.ask() for _ in range(ASKED)]
        assert {answer.json["name"] for answer in answers} == {"importer"}
        wait_until(lambda: shell.last_used_at() is not None, DEADLINE_S, "the use to be listed")

        shell.type("keys", "revoke", "importer")
        until_s = time.monotonic() + REMEMBERED_S
        wait_until(lambda: time.monotonic() > until_s, DEADLINE_S, "what was read to be forgotten")
        refused = [shell.ask() for _ in range(ASKED)]

    assert [answer.status for answer in refused] == [401] * ASKED
    assert refused[0].headers["WWW-Authenticate"].startswith("Bearer")
    assert shell.key[16:] not in (tmp_path / "gateway.log").read_text()
