"""A home that another user prepared, or may write to, is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.keeper_client import KeeperClient
from deployments.embedded.layout import Home
from deployments.embedded.ownership import check_home, read_own
from deployments.embedded.specs import ServiceRequest, post_request, take_requests
from tests.support.homes import temporary_home

STRANGER = 12345
# Its place among `places`: a log's mode is the umask's affair, its folder is private.
KEEPER_LOG = 8
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def home():
    with temporary_home() as path:
        made = Home(path)
        made.make_folders()
        yield made


def places(home: Home) -> list[Path]:
    post_request(home.requests, ServiceRequest("a", ("postgres",)))
    for path in (home.state_file, home.keeper_lock, home.log_of("keeper"), home.secrets / "owner"):
        path.touch(mode=0o600)
    files = [home.state_file, home.keeper_lock, home.log_of("keeper"), home.secrets / "owner"]
    folders = [home.path, home.run, home.requests, home.logs, home.secrets, home.postgres]
    return [*folders, *files, home.requests / "a.json"]


def test_a_home_of_ones_own_is_accepted(home: Home):
    places(home)
    check_home(home)


@as_root
@pytest.mark.parametrize("number", range(11))
def test_what_belongs_to_another_user_is_refused(home: Home, number: int):
    os.chown(places(home)[number], STRANGER, STRANGER)
    with pytest.raises(StackStartFailed, match="belongs to another user"):
        check_home(home)


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("number", [n for n in range(11) if n != KEEPER_LOG])
def test_what_others_may_write_to_is_refused(home: Home, number: int, mode: int):
    path = places(home)[number]
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(StackStartFailed, match="written to by other users"):
        check_home(home)


@pytest.mark.parametrize("number", range(1, 11))
def test_a_symbolic_link_in_a_home_is_refused(home: Home, number: int):
    path = places(home)[number]
    moved = path.rename(home.path / "elsewhere")
    path.symlink_to(moved)
    with pytest.raises(StackStartFailed, match="symbolic link"):
        check_home(home)


def drop_link(home: Home, path: Path) -> None:
    path.rename(home.path / "elsewhere")
    path.symlink_to(home.path / "elsewhere")


def drop_foreign(_home: Home, path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


@pytest.mark.parametrize("spoil", [drop_link, pytest.param(drop_foreign, marks=as_root)])
def test_the_keeper_throws_a_request_away_that_is_not_the_owners(
    home: Home, spoil: Callable[[Home, Path], None]
):
    good, bad = ServiceRequest("good", ("postgres",)), ServiceRequest("bad", ("postgres",))
    for request in (good, bad):
        post_request(home.requests, request)
    spoil(home, bad.path_in(home.requests))
    assert take_requests(home.requests) == [good]
    assert list(home.requests.iterdir()) == []


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(home: Home):
    os.mkfifo(home.run / "state.json", 0o600)
    with pytest.raises(StackStartFailed, match="no regular file"):
        read_own(home.state_file)


def test_a_command_refuses_such_a_home_before_it_starts_anything(home: Home):
    home.requests.chmod(0o777)
    with pytest.raises(StackStartFailed, match="written to by other users"):
        KeeperClient(home, on_progress=lambda _: None).open()
    assert list(home.run.iterdir()) == [home.requests]
