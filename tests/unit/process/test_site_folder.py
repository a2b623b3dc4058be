"""Which site a command is about, from any folder; and that none is made where one is looked for."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tidings.process import site_folder
from tidings.process.boot import prepare_var_dir, start
from tidings.process.errors import CannotStartError, SettingsError
from tidings.process.settings import load_settings, make_secret_keys
from tidings.process.site_folder import (
    MAX_SOCKET_BYTES,
    SiteFolder,
    find_site,
    is_site,
    name_site,
    record_site,
    redis_socket,
)
from tidings.store.opening import migrate_database


@pytest.fixture(autouse=True)
def _env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(site_folder, "ENV_FILE", ".env")
    monkeypatch.setattr(site_folder, "_named", None)
    monkeypatch.chdir(tmp_path)


def make_site(home: Path) -> Path:
    """A folder with a site in it, as `tidings up` leaves it; returns its `var/`."""
    var_dir = home / "var"
    var_dir.mkdir(parents=True)
    (var_dir / "secret_keys").write_text("k" * 64)
    return var_dir


def found() -> Path:
    """The folder that a command would use, typed here."""
    return load_settings().site.var_dir.absolute()


class TestFinding:
    """One rule after the other."""

    def test_the_site_in_this_folder_wins_over_the_one_started_last(self, tmp_path: Path) -> None:
        """A person who stands in a site means that one."""
        record_site(SiteFolder(tmp_path / "last", make_site(tmp_path / "last")))
        here = make_site(tmp_path)

        assert found() == here

    def test_a_folder_inside_a_site_belongs_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From docs/ of a clone as well as from var/site."""
        var_dir = make_site(tmp_path / "clone")
        (tmp_path / "clone" / "docs" / "deep").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "clone" / "docs" / "deep")

        assert found() == var_dir

    def test_the_site_that_was_started_last_is_found_from_elsewhere(self, tmp_path: Path) -> None:
        """With its `.env`, whose relative paths are relative to that file."""
        home = tmp_path / "news"
        var_dir = make_site(home)
        (home / ".env").write_text(
            "TIDINGS_DATABASE_URL=sqlite:///other.db\nTIDINGS_CARD_TTL_S=77\n"
        )
        record_site(SiteFolder(home, var_dir))
        settings = load_settings()

        assert settings.site.var_dir == var_dir
        assert settings.database.url == f"sqlite:///{home}/other.db"
        assert settings.gateway.card_ttl_s == 77

    def test_a_recorded_site_that_is_gone_is_no_site(self, tmp_path: Path) -> None:
        """Its folder was deleted; making it again would be a second, empty one."""
        record_site(SiteFolder(tmp_path / "gone", tmp_path / "gone" / "var"))

        assert found() == tmp_path / "var"

    def test_the_site_of_the_clone_that_the_program_runs_from_is_found(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`.venv/bin/tidings` typed by its whole path, with nothing recorded."""
        var_dir = make_site(tmp_path / "clone")
        monkeypatch.setattr(site_folder, "PROGRAM", tmp_path / "clone")

        assert found() == var_dir

    def test_a_site_of_another_user_in_a_folder_above_is_not_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Everybody may write in /tmp, and a `.env` there could name a program to run."""
        make_site(tmp_path)
        (tmp_path / "mine").mkdir()
        monkeypatch.chdir(tmp_path / "mine")
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        found_uid = (tmp_path / "var").stat().st_uid
        if found_uid == 0:
            os.chown(tmp_path / "var", 54321, -1)

        assert found() == tmp_path / "mine" / "var"

    def test_a_database_in_the_environment_needs_no_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A container with everything in variables must not wander off to some site above."""
        make_site(tmp_path)
        (tmp_path / "app").mkdir()
        monkeypatch.chdir(tmp_path / "app")
        monkeypatch.setenv("TIDINGS_DATABASE_URL", "mysql+pymysql://me:pw@db/tidings")

        assert found() == tmp_path / "app" / "var"

    def test_nothing_is_made_in_the_root_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Trap: /var is there, and is no site's."""
        monkeypatch.chdir("/")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

        assert find_site().var_dir == tmp_path / "data" / "tidings" / "var"


class TestNaming:
    """`--site DIR`."""

    @pytest.mark.parametrize("named", ["news", "news/var"])
    def test_a_site_is_named_by_its_folder_or_by_the_one_around_it(
        self, tmp_path: Path, named: str
    ) -> None:
        """Either is what people type; the `.env` beside it counts, and the one here does not."""
        var_dir = make_site(tmp_path / "news")
        (tmp_path / "news" / ".env").write_text("TIDINGS_CARD_TTL_S=77\n")
        (tmp_path / ".env").write_text("TIDINGS_DATABASE_URL=sqlite:///wrong.db\n")
        name_site(named)
        settings = load_settings()

        assert settings.site.var_dir == var_dir
        assert settings.database.url == f"sqlite:///{var_dir}/tidings.db"
        assert settings.gateway.card_ttl_s == 77

    def test_a_site_elsewhere_by_its_env_file_is_named_by_the_folder_of_that(
        self, tmp_path: Path
    ) -> None:
        """Trap: the folder itself becoming a second, empty site."""
        (tmp_path / "news").mkdir()
        (tmp_path / "news" / ".env").write_text("TIDINGS_VAR_DIR=data\nTIDINGS_CARD_TTL_S=77\n")
        name_site("news")

        assert found() == tmp_path / "news" / "data"
        assert load_settings().gateway.card_ttl_s == 77

    def test_a_folder_that_is_not_there_yet_is_the_site_itself(self, tmp_path: Path) -> None:
        """`tidings --site /srv/news up` makes it there."""
        name_site("new/site")

        assert found() == tmp_path / "new" / "site"

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        """The one thing that can be no site."""
        (tmp_path / "file").touch()

        with pytest.raises(CannotStartError, match=r"--site: .*file is not a folder"):
            name_site("file")


@pytest.mark.parametrize("name", ["what?x=1", "100%41", "ha#sh", "a b", "ü☃", "a@b:c"])
def test_the_database_is_in_the_sites_folder_however_that_is_named(
    tmp_path: Path, name: str
) -> None:
    """Trap: in a URL, what follows `?` is no path, and `%41` is an A."""
    name_site(name)
    migrate_database(load_settings())

    assert os.listdir(tmp_path) == [name]
    assert os.listdir(tmp_path / name) == ["tidings.db"]


@pytest.mark.parametrize("content", [b"\xff\xfeT\x00", b"TIDINGS_SITE_URL=http://caf\xe9/\n"])
def test_an_env_file_that_is_no_text_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    """As some editors save it on other systems."""
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(CannotStartError, match=r"\.env is not UTF-8 text: .* at byte"):
        load_settings()


def test_an_empty_name_is_refused_as_the_sites_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the current folder, which then gets a site's modes and its files."""
    monkeypatch.setenv("TIDINGS_VAR_DIR", "")

    with pytest.raises(SettingsError, match="TIDINGS_VAR_DIR: names no folder"):
        load_settings()


class TestModes:
    """Who may read what is in `var/`."""

    def test_only_the_owner_reads_a_site_and_everybody_its_pages(self, tmp_path: Path) -> None:
        """Also in a folder that an earlier version made, where everything could be read by all."""
        var_dir = tmp_path / "var"
        (var_dir / "redis" / "appendonlydir").mkdir(parents=True)
        (var_dir / "site" / "articles").mkdir(parents=True)
        names = ("tidings.db", "tidings.db-wal", "redis/redis.log", "redis/appendonlydir/1.aof")
        for name in (*names, "site/index.html"):
            (var_dir / name).touch()
        for path in (var_dir, *var_dir.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (var_dir / "site").chmod(0o700)
        settings = load_settings()
        prepare_var_dir(settings)
        make_secret_keys(settings.site)
        modes = {
            str(path.relative_to(var_dir)): stat.S_IMODE(path.stat().st_mode)
            for path in (var_dir, *var_dir.rglob("*"))
        }

        assert modes == {
            ".": 0o711,
            "secret_keys": 0o600,
            "tidings.db": 0o600,
            "tidings.db-wal": 0o600,
            "redis": 0o700,
            "redis/redis.log": 0o600,
            "redis/appendonlydir": 0o700,
            "redis/appendonlydir/1.aof": 0o600,
            "site": 0o755,
            "site/articles": 0o755,
            "site/index.html": 0o644,
        }

    def test_a_folder_that_is_more_than_a_sites_keeps_its_mode(self, tmp_path: Path) -> None:
        """VAR_DIR=/tmp is unwise, and no reason to take /tmp from everybody else."""
        var_dir = make_site(tmp_path)
        var_dir.chmod(0o1777)
        prepare_var_dir(load_settings())

        assert stat.S_IMODE(var_dir.stat().st_mode) == 0o1777


class TestSocket:
    """Where the embedded Redis listens."""

    def test_it_is_beside_the_data(self, tmp_path: Path) -> None:
        """As long as the path is short enough for a socket."""
        assert redis_socket(Path("/srv/news/var")) == Path("/srv/news/var/redis/redis.sock")

    def test_a_long_path_gives_a_folder_of_the_sites_own_in_the_runtime_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every process finds the same, and another site another one."""
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
        one, other = Path("/srv") / ("n" * 100), Path("/srv") / ("m" * 100)
        socket = redis_socket(one)

        assert socket == redis_socket(one)
        assert socket != redis_socket(other)
        assert socket.parent.parent == Path("/run/user/1")
        assert len(os.fsencode(socket)) <= MAX_SOCKET_BYTES

    def test_a_process_with_another_runtime_folder_follows_the_link_beside_the_data(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A shell has one, and cron has none."""
        var_dir = tmp_path / ("n" * 100)
        (var_dir / "redis").mkdir(parents=True)
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
        socket = redis_socket(var_dir)
        (var_dir / "redis" / "redis.sock").symlink_to(socket)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

        assert redis_socket(var_dir) == socket
        assert socket.is_relative_to("/run/user/1")

    def test_a_copy_of_a_site_has_a_socket_of_its_own(self, tmp_path: Path) -> None:
        """The link was copied as well, and leads to the Redis of the site that was copied."""
        var_dir, copy = tmp_path / ("n" * 100), tmp_path / ("m" * 100)
        (var_dir / "redis").mkdir(parents=True)
        socket = redis_socket(var_dir)
        (var_dir / "redis" / "redis.sock").symlink_to(socket)
        shutil.copytree(var_dir, copy, symlinks=True)

        assert redis_socket(copy) != socket
        assert redis_socket(var_dir) == socket


def test_a_process_without_a_site_says_so_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m gateway`, typed in some folder before there is any site."""
    assert start("gateway", lambda _: 0) == 2
    (line,) = capsys.readouterr().err.splitlines()

    assert f"there is no site in {tmp_path / 'var'}" in line
    assert list(tmp_path.iterdir()) == []
    assert not is_site(tmp_path / "var")
