"""Pictures at the gateway's door."""

from __future__ import annotations

import hashlib
from pathlib import Path

from redis import Redis
from sqlalchemy import Engine

from tests.unit.gateway.doors import Door, make_door
from tidings.news.images import Images

DATA = b"RIFF....WEBP"
DIGEST = hashlib.sha256(DATA).hexdigest()


def open_door(engine: Engine, redis: Redis, folder: Path) -> Door:
    Images(folder).write(DIGEST, DATA)
    return make_door(engine, redis, images=folder)


def test_a_picture_is_kept_by_caches_and_is_nothing_but_a_picture(
    engine: Engine, dead_redis: Redis, tmp_path: Path
) -> None:
    answer = open_door(engine, dead_redis, tmp_path).client.simulate_get(f"/images/{DIGEST}")

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("sandbox")
    assert not answer.cookies


def test_a_picture_that_is_there_already_is_not_sent_again(
    engine: Engine, dead_redis: Redis, tmp_path: Path
) -> None:
    client = open_door(engine, dead_redis, tmp_path).client
    tag = client.simulate_get(f"/images/{DIGEST}").headers["ETag"]
    again = client.simulate_get(f"/images/{DIGEST}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_what_is_no_picture_here_is_404(engine: Engine, dead_redis: Redis, tmp_path: Path) -> None:
    """Nothing but a digest leads into the folder, and the refusal is kept by no cache."""
    client = open_door(engine, dead_redis, tmp_path / "images").client
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("0" * 64, DIGEST.upper(), DIGEST[:63], "..%2Fsecret", "%2e%2e", "x", "é"):
        answer = client.simulate_get(f"/images/{name}")
        assert answer.status_code == 404, name
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.simulate_get("/images/" + "0" * 64).json["type"] == "/docs#unknown-image"
