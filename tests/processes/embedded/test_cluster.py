"""The embedded PostgreSQL: what it promises, and what it survives."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.layout import Home
from deployments.embedded.programs import find_account
from deployments.embedded.stack import open_stack
from deployments.settings import Settings
from tests.processes.embedded.conftest import User, keeper_pid, pid_of, state_of, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")


def query(url: str, sql: LiteralString) -> object:
    """Run one statement, committed, and return the first value of its result, if it has one."""
    with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=10) as connection:
        cursor = connection.execute(sql)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def answers(url: str) -> bool:
    try:
        return query(url, "select 1") == 1
    except psycopg.OperationalError:
        return False


def test_the_owner_owns_the_database_and_is_no_superuser(settings: Settings):
    with open_stack(settings) as stack:
        found = query(
            stack.database_url,
            "select format('%s %s %s %s %s', rolname, rolsuper, rolcreaterole, rolcreatedb,"
            " pg_encoding_to_char(encoding)) from pg_roles join pg_database on datdba ="
            " pg_roles.oid where rolname = current_user and datname = current_database()",
        )
    assert found == "tenantry_owner f t t UTF8"


def test_what_is_committed_is_on_the_disk(settings: Settings):
    with open_stack(settings) as stack:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            found = query(stack.superuser_url, f"select current_setting('{setting}')")  # pyright: ignore[reportArgumentType]
            assert found == "on"


def test_only_this_machine_reaches_it_and_only_with_the_password(settings: Settings):
    with open_stack(settings) as stack:
        listen = query(stack.superuser_url, "select current_setting('listen_addresses')")
        sockets = query(stack.superuser_url, "select current_setting('unix_socket_directories')")
        kinds = query(
            stack.superuser_url,
            "select string_agg(distinct auth_method, ',') from pg_hba_file_rules",
        )
        secret = stack.secret("postgres_tenantry_owner")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            query(stack.database_url.replace(secret, "wrong"), "select 1")
    assert (listen, sockets, kinds) == ("127.0.0.1", "", "scram-sha-256")


def test_the_owner_may_not_enter_prefects_database(settings: Settings):
    with (
        open_stack(settings) as stack,
        pytest.raises(psycopg.OperationalError, match="permission denied for database"),
    ):
        query(stack.database_url.removesuffix("/tenantry") + "/prefect", "select 1")


def test_the_next_start_finds_data_and_address_again(settings: Settings):
    with open_stack(settings) as stack:
        before = stack.database_url
        query(before, "create table kept as select 42 as answer")
    with open_stack(settings) as stack:
        assert stack.database_url == before
        assert query(stack.database_url, "select answer from kept") == 42


def test_killed_it_comes_back_on_the_same_port_with_its_data(home: Home, settings: Settings):
    with open_stack(settings) as stack:
        url = stack.database_url
        query(url, "create table kept as select 42 as answer")
        killed = pid_of(home, "postgres")
        os.kill(killed, signal.SIGKILL)
        wait_until(
            "PostgreSQL again", lambda: state_of(home, "postgres").starts == 2 and answers(url)
        )
        assert query(url, "select answer from kept") == 42


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process of the user that PostgreSQL runs as, which has nothing to do with it."""
    account = find_account()
    with subprocess.Popen(["sleep", "600"], user=account.uid if account else None) as process:
        yield process.pid
        assert process.poll() is None, "a process that isn't ours was ended"
        process.kill()


@pytest.fixture
def zombie() -> Iterator[int]:
    account = find_account()
    with subprocess.Popen(["true"], user=account.uid if account else None) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


@pytest.mark.parametrize("whose", ["stranger", "zombie"])
def test_a_stale_pid_file_does_not_stop_the_start(
    home: Home, settings: Settings, whose: str, request: pytest.FixtureRequest
):
    with open_stack(settings):
        pid_file = home.postgres / "data/postmaster.pid"
        lines = pid_file.read_text().splitlines()
        os.kill(keeper_pid(home), signal.SIGKILL)
        wait_until("the database's end", lambda: not pid_file.exists())
    used_again: int = request.getfixturevalue(whose)
    pid_file.write_text("\n".join([str(used_again), *lines[1:]]) + "\n")
    with open_stack(settings) as stack:
        assert answers(stack.database_url)


def test_a_killed_first_start_leaves_nothing_half_made(
    home: Home, settings: Settings, start_user: Callable[..., User]
):
    start_user("postgres")
    wait_until("initdb at work", lambda: list(home.postgres.glob("making-*/data/base")))
    os.kill(keeper_pid(home), signal.SIGKILL)
    assert not (home.postgres / "data").exists()
    with open_stack(settings) as stack:
        assert answers(stack.database_url)


def test_secrets_are_readable_for_their_owner_only(home: Home, settings: Settings):
    with open_stack(settings) as stack:
        stack.secret("made_for_a_test")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.secrets.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4
    for folder in (home.secrets, home.run, home.logs, home.prefect, home.postgres / "data"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_password_is_in_a_log_or_a_command_line(home: Home, settings: Settings):
    with open_stack(settings):
        command = Path(f"/proc/{pid_of(home, 'postgres')}/cmdline").read_text()
    text = command + "".join(log.read_text() for log in home.logs.iterdir())
    assert text
    assert not [path.name for path in home.secrets.iterdir() if path.read_text() in text]


def test_the_server_inherits_nothing_from_whoever_started_it(
    home: Home, start_user: Callable[..., User]
):
    start_user("postgres", SOME_API_KEY="hush").answer()
    environ = Path(f"/proc/{pid_of(home, 'postgres')}/environ").read_text()
    assert "LC_ALL=C" in environ
    assert "hush" not in environ


@needs_root
def test_a_home_that_postgres_may_not_enter_is_refused_and_stays_closed():
    closed = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        with (
            pytest.raises(StackStartFailed, match=str(closed)) as refused,
            open_stack(Settings(home=closed / "home")),
        ):
            pass
        assert "export TENANTRY_HOME=/var/lib/tenantry" in refused.value.hint
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(closed)


def test_data_of_another_major_version_is_refused_in_words(home: Home, settings: Settings):
    with open_stack(settings):
        pass
    (home.postgres / "data/PG_VERSION").write_text("12\n")
    with pytest.raises(StackStartFailed, match="made by PostgreSQL 12"), open_stack(settings):
        pass


def test_a_lost_superuser_secret_is_named_in_the_hint(home: Home, settings: Settings):
    with open_stack(settings):
        pass
    (home.secrets / "postgres_superuser").unlink()
    with (
        pytest.raises(StackStartFailed, match="could not be set up") as failed,
        open_stack(settings),
    ):
        pass
    assert "postgres_superuser" in failed.value.hint


def test_a_port_that_somebody_took_meanwhile_is_replaced(settings: Settings):
    with open_stack(settings) as stack:
        before = stack.database_url
    port = int(before.rpartition(":")[2].partition("/")[0])
    with socket.create_server(("127.0.0.1", port)), open_stack(settings) as stack:
        assert stack.database_url != before
        assert answers(stack.database_url)


def test_with_a_database_of_your_own_nothing_is_started(home: Home):
    url = "postgresql+psycopg://tenantry_owner:x@db.internal/tenantry"
    settings = Settings.model_validate({"home": home.path, "database_url": url})
    with open_stack(settings) as stack:
        assert stack.database_url == url
    assert list(home.path.iterdir()) == []
