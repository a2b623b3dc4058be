"""deploy/nginx.conf, as an operator copies it, in front of a gateway: who is there, what is slow,
what is too much, and what is served beside it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.resources.bodies import PICTURE_BYTES
from jobs.pages.build import build_site
from tests.faults.gateway_site import GatewaySite, start_gateway
from tests.lab.nginx import DEPLOYED, NAME, Front, serve_gateway
from tests.lab.servers import find_program, wait_until
from tests.lab.sites import PATIENT
from tidings.http.problems import AWAY, PROBLEMS, TYPE_PREFIX
from tidings.news.images import Images
from tidings.news.rendering.masthead import Masthead
from tidings.news.rendering.render import Renderer
from tidings.process.errors import PREFIX
from tidings.process.settings import read_settings
from tidings.process.settings.gateway import GatewaySettings
from tidings.store.engine import make_engine

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What nginx sent."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Door:
    """nginx, the gateway behind it, and the folder of static pages."""

    front: Front
    gateway: GatewaySite
    pages: Path

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """One request over a connection of its own."""
        connection = self.front.connect(source)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Host": NAME, **named})
            return _read(connection.getresponse())
        finally:
            connection.close()


def _read(response: HTTPResponse) -> Answer:
    return Answer(response.status, response.headers, response.read())


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("nginx")
    pages = folder / "pages"
    (folder / "front").mkdir()
    with (
        start_gateway(folder, **PATIENT) as gateway,
        serve_gateway(f"127.0.0.1:{gateway.port}", pages, folder / "front") as front,
    ):
        engine = make_engine(read_settings(None, database_url=gateway.database_url).database)
        build_site(engine, pages, Renderer(Masthead(f"https://{NAME}")), now=datetime.now(UTC))
        engine.dispose()
        yield Door(front, gateway, pages)


def test_a_reader_gets_a_cookie_that_only_travels_over_https(door: Door) -> None:
    """The gateway knows from nginx that the reader came over HTTPS."""
    answer = door.ask("GET", "/articles")

    assert answer.status == 200
    assert answer.json["served_from"] == "personal"
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("is_socket", [False, True], ids=["TCP", "unix socket"])
def test_the_gateway_counts_by_the_address_that_nginx_saw(
    door: Door, tmp_path: Path, is_socket: bool
) -> None:
    """Over either way, and whatever the client says of itself."""
    with ExitStack() as stack:
        if is_socket:
            bind = f"unix:{tmp_path}/door"
            gateway = stack.enter_context(start_gateway(tmp_path, gateway_bind=bind, **PATIENT))
            front = stack.enter_context(serve_gateway(bind, door.pages, tmp_path))
            door = Door(front, gateway, door.pages)
        left = [
            door.ask("GET", "/articles", X_Test_Address=address, X_Forwarded_For=claim).headers[
                "RateLimit"
            ].partition(";t=")[0]
            for address, claim in (
                ("198.51.100.20", "203.0.113.1"),
                ("198.51.100.20", "203.0.113.2"),
                ("198.51.100.21", "203.0.113.1"),
            )
        ]  # fmt: skip

    assert left == ['"new-readers";r=29', '"new-readers";r=28', '"new-readers";r=29']


def test_plain_http_is_sent_to_https_with_its_method(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.front.plain_port), timeout=60) as plain:
        request = f"POST /behaviors?a=b HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n"
        plain.sendall(request.encode())
        head = plain.recv(4096).decode()

    assert head.startswith("HTTP/1.1 308 ")
    assert f"Location: https://{NAME}/behaviors?a=b\r\n" in head


def test_a_request_has_one_id_at_both_doors(door: Door) -> None:
    assert door.ask("GET", "/channels", X_Request_Id="mine-1").headers["X-Request-Id"] == "mine-1"
    made_here = door.ask("GET", "/channels").headers["X-Request-Id"]

    wait_until(lambda: made_here in door.gateway.process.log.read_text(), 10, "its line")


def test_clients_that_send_slowly_cost_the_gateway_nothing(door: Door) -> None:
    """A hundred heads and bodies that stop half-way: the gateway has not heard of one of them."""
    before = connections_of(door.gateway)
    with ExitStack() as stack:
        for number in range(100):
            wire = stack.enter_context(
                socket.create_connection(("127.0.0.1", door.front.port), timeout=60)
            )
            slow = stack.enter_context(door.front.tls.wrap_socket(wire, server_hostname=NAME))
            head = f"POST /behaviors HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
            rest = "Content-Length: 90\r\n\r\n{" if number % 2 else "X-More: "
            slow.sendall((head + rest).encode())

        # From another address, since each counts for its own.
        assert door.ask("GET", "/articles", source="127.0.0.2").status == 200
        assert connections_of(door.gateway) <= before + 1


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/behaviors", b"x" * 262_145, {}, 413),
        ("GET", "/" + "a" * 9000, None, {}, 414),
        ("GET", "/channels", None, {"X-Long": "a" * 9000}, 431),
        ("DELETE", "/articles/1.html", None, {}, 405),
        ("GET", "/channels", None, {"Host": "two words"}, 400),
    ],
)
def test_what_nginx_refuses_is_a_problem_with_a_request_id(
    door: Door, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = door.ask(method, path, body, **headers)

    assert answer.status == status
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["title"]
    assert answer.json["detail"]


def test_a_body_that_is_too_large_is_a_problem_over_http_2_too(door: Door, tmp_path: Path) -> None:
    """Browsers speak it, and nginx looks at the length of a body there once more."""
    body = tmp_path / "body"
    body.write_bytes(b"x" * 300_000)
    where = f"{NAME}:{door.front.port}"
    curl = [find_program("curl"), "--silent", "--insecure", "--http2", "--include"]
    sent = subprocess.run(
        [
            *curl,
            *("--resolve", f"{where}:127.0.0.1"),
            *("--data-binary", f"@{body}"),
            f"https://{where}/behaviors",
        ],
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    )

    head, _, said = sent.stdout.partition("\n\n")
    assert head.splitlines()[0].split()[:2] == ["HTTP/2", "413"]
    assert json.loads(said)["type"] == "/docs#body-too-large"


def test_the_problems_of_nginx_are_those_that_the_gateway_describes(door: Door) -> None:
    titles = {f"{TYPE_PREFIX}{kind.slug}": kind.title for kind in (*PROBLEMS.values(), AWAY)}
    told = re.findall(
        r"""^    \d{3} '"type":"([^"]+)","title":"([^"]+)\"""", DEPLOYED.read_text(), re.MULTILINE
    )
    page = door.ask("GET", "/docs").body.decode()

    assert len(told) == 9
    for kind, title in told:
        assert title.replace("\\", "") == titles[kind]
        assert f'id="{kind.removeprefix(TYPE_PREFIX)}"' in page


def test_a_path_with_quotes_does_not_break_a_problem(door: Door) -> None:
    """It is told what the problem is about only where that needs no escape."""
    assert door.ask("DELETE", '/articles/1.html?"}').json["instance"] == "/articles/1.html"
    assert door.ask("GET", '/"}' + "a" * 9000).json["instance"] == "/"


def test_the_largest_body_that_the_gateway_takes_gets_there(door: Door) -> None:
    """The two bounds are one figure, and the answer is the gateway's."""
    largest = GatewaySettings.model_fields["max_body_bytes"].default
    assert f"client_max_body_size {largest // 1024}k;" in DEPLOYED.read_text()

    answer = door.ask("POST", "/behaviors", b" " * largest, Content_Type="application/json")

    assert (answer.status, answer.json["type"]) == (400, "/docs#malformed-json")


def test_a_picture_gets_there_though_it_is_longer_than_any_other_body(door: Door) -> None:
    """The bound is the gateway's, and its answer too: that a key is needed."""
    assert f"client_max_body_size {PICTURE_BYTES // 1024**2}m;" in DEPLOYED.read_text()

    longest = door.ask("POST", "/images", b" " * PICTURE_BYTES, Content_Type="image/png")
    longer = door.ask("POST", "/images", b" " * (PICTURE_BYTES + 1), Content_Type="image/png")

    assert (longest.status, longest.json["type"]) == (401, "/docs#key-needed")
    assert (longer.status, longer.json["type"]) == (413, "/docs#body-too-large")


@pytest.mark.parametrize(
    ("flooding", "another"),
    [
        (["198.51.100.1"], "198.51.100.2"),
        # A household has 2**64 addresses, and may ask no more than one of IPv4.
        ([f"2001:db8:0:1::{number:x}" for number in range(1, 100)], "2001:db8:0:2::1"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_flood_from_one_client_is_told_to_wait_and_another_is_served(
    door: Door, tmp_path: Path, flooding: list[str], another: str
) -> None:
    with serve_gateway(
        f"127.0.0.1:{door.gateway.port}", door.pages, tmp_path, per_second=1
    ) as front:
        strict = replace(door, front=front)
        connection = front.connect()
        answers = []
        for number in range(400):
            address = flooding[number % len(flooding)]
            headers = {"Host": NAME, "X-Test-Address": address}
            connection.request("GET", "/articles/1.html", headers=headers)
            answers.append(_read(connection.getresponse()))
        connection.close()
        refused = [answer for answer in answers if answer.status != 200]
        others = strict.ask("GET", "/channels", X_Test_Address=another)

    assert len(answers) - len(refused) >= 200
    assert {
        (answer.status, answer.headers["Content-Type"], answer.headers["Retry-After"])
        for answer in refused
    } == {(429, PROBLEM, "1")}
    assert others.status == 200


def test_every_static_page_is_served_beside_the_gateway(door: Door) -> None:
    """Byte for byte, with its caching; what is no page of theirs is the gateway's to answer."""
    names = sorted(
        str(path.relative_to(door.pages))
        for path in door.pages.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    assert len(names) > 200
    # As many as one client may ask for at once.
    for name in [*names[:20], *(name for name in names if "articles" not in name)]:
        answer = door.ask("GET", f"/{name}", X_Test_Address="198.51.100.1")
        assert (answer.status, answer.body) == (200, (door.pages / name).read_bytes()), name
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        is_picture = name == "favicon.ico"
        assert answer.headers["Content-Type"].endswith("; charset=utf-8") is not is_picture

    listing = door.pages / "channels/1/page-1.html"
    assert door.ask("GET", "/channels/1/page-1").body == listing.read_bytes()
    page = door.ask("GET", "/articles/0.html")
    assert (page.status, "Cache-Control" in page.headers) == (404, False)
    assert b"There is no such page" in page.body
    assert door.ask("GET", "/articles/1").json["article_id"] == 1
    assert door.ask("GET", "/.manifest.json").headers["Content-Type"] == PROBLEM
    assert b"/static/" in door.ask("GET", "/").body


def test_a_picture_is_the_same_from_a_file_and_from_the_gateway(door: Door) -> None:
    """It lies on this machine, or on that of the gateway; caches keep it for ever either way."""
    var_dir = Path(door.gateway.site.settings[f"{PREFIX}VAR_DIR"])
    beside, behind = "ab" * 32, "cd" * 32
    Images(door.pages.parent / "images").write(beside, b"RIFF beside")
    Images(var_dir / "images").write(behind, b"RIFF behind")

    for digest, body in ((beside, b"RIFF beside"), (behind, b"RIFF behind")):
        answer = door.ask("GET", f"/images/{digest}")
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].endswith("sandbox")
        etag = answer.headers["ETag"]
        assert door.ask("GET", f"/images/{digest}", If_None_Match=etag).status == 304
    assert door.ask("GET", f"/images/{'0' * 64}").json["type"] == f"{TYPE_PREFIX}unknown-image"


def test_an_article_is_a_page_for_people_and_json_for_programs(door: Door, tmp_path: Path) -> None:
    """While the gateway is away people get the static page, and programs a problem."""
    answer = door.ask("GET", "/articles/1", Accept="text/html, */*;q=0.1")
    assert (answer.status, b"<title>Title 1 " in answer.body) == (200, True)
    assert "Accept, Accept-Encoding" in answer.headers.get_all("Vary", [])
    for path in ("/articles/1", "/channels/1"):
        assert door.ask("GET", path).headers["Content-Type"] == "application/json"

    with serve_gateway("127.0.0.1:1", door.pages, tmp_path) as front:
        without = replace(door, front=front)
        for path in ("articles/1", "channels/1"):
            page = (door.pages / f"{path}.html").read_bytes()
            answer = without.ask("GET", f"/{path}", Accept="text/html, */*;q=0.1")
            assert (answer.status, answer.body) == (200, page)
            refused = without.ask("GET", f"/{path}")
            assert (refused.status, refused.headers["Content-Type"]) == (502, PROBLEM)


def test_a_page_is_not_sent_again_to_a_reader_who_has_it(door: Door) -> None:
    etag = door.ask("GET", "/articles/1.html").headers["ETag"]

    assert door.ask("GET", "/articles/1.html", If_None_Match=etag).status == 304


@pytest.mark.parametrize("path", ["/articles?article_num=20", "/articles/1.html", "/openapi.json"])
def test_what_is_long_is_compressed_when_asked(door: Door, path: str) -> None:
    answer = door.ask("GET", path, Accept_Encoding="gzip")

    assert answer.status == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert "Content-Encoding" not in door.ask("GET", path).headers


def test_a_restart_of_the_gateway_costs_answers_that_may_be_asked_again(door: Door) -> None:
    """While readers read: each is served, or told by a problem when to come again."""
    answers: list[Answer] = []
    is_over = threading.Event()

    def keep_reading(number: int) -> None:
        while not is_over.is_set():
            answers.append(door.ask("GET", "/channels", X_Test_Address=f"198.51.100.{number}"))
            is_over.wait(0.1)

    readers = [threading.Thread(target=keep_reading, args=(number,)) for number in range(10, 14)]
    for reader in readers:
        reader.start()
    wait_until(lambda: bool(answers), 20, "the first answer")
    door.gateway.process.kill(signal.SIGTERM)
    wait_until(lambda: answers[-1].status == 502, 20, "an answer of nginx's own")
    assert door.ask("GET", "/articles/1.html").status == 200
    door.gateway.process.start()
    wait_until(lambda: answers[-1].status == 200, 60, "the gateway through nginx")
    is_over.set()
    for reader in readers:
        reader.join(30)

    assert {answer.status for answer in answers} <= {200, 502, 503}
    refused = [answer for answer in answers if answer.status != 200]
    assert {
        (answer.headers["Content-Type"], answer.headers["Retry-After"]) for answer in refused
    } == {(PROBLEM, "1")}
    assert all(answer.json["request_id"] for answer in refused)


def connections_of(gateway: GatewaySite) -> int:
    """How many clients the gateway's door has open."""
    assert gateway.process.popen is not None
    master = psutil.Process(gateway.process.popen.pid)
    return sum(
        open_.status == psutil.CONN_ESTABLISHED and open_.laddr.port == gateway.port
        for worker in master.children()
        for open_ in worker.net_connections()
    )
