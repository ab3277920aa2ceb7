"""Refuse a home in which somebody else could have put something, or still can.

What lies under a home is run: requests name programs, the state names processes to end, secrets
open the database. So folders and files there are the caller's own, are no links, and nobody else
may write to them. Root is no exception: a home that another user prepared is refused.
"""

import os
import stat
from pathlib import Path

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.layout import Home


def check_home(home: Home) -> None:
    """Make sure that a home and all that is read from it are the caller's own.

    PostgreSQL's data are left out: as root they belong to the account that PostgreSQL runs as,
    and only it reads them.

    Raises:
        StackStartFailed: with the first path that is not, and what is wrong with it.
    """
    _check(home.path.resolve(), is_folder=True)
    for folder in (home.run, home.requests, home.logs, home.secrets, home.prefect, home.postgres):
        _check(folder, is_folder=True)
    for folder in (home.run, home.requests, home.secrets):
        for path in sorted(folder.iterdir()):
            _check(path, is_folder=path == home.requests)
    for path in sorted(home.logs.iterdir()):
        # Services make theirs with the caller's umask, in a folder that nobody else enters.
        _check(path, is_folder=False, any_mode=True)


def read_own(path: Path) -> str:
    """Read a file that is the caller's own, and no link.

    Raises:
        StackStartFailed: it is a link, no file, somebody else's, or others may write to it.
        FileNotFoundError: it is gone.
    """
    _check(path, is_folder=False)
    # Not followed and not waited for, should it have become a link or a pipe since.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        _check_found(path, os.fstat(descriptor), is_folder=False)
        return file.read()


def _check(path: Path, *, is_folder: bool, any_mode: bool = False) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        # Requests, and files that are replaced, come and go.
        if is_folder:
            raise
        return
    _check_found(path, found, is_folder=is_folder, any_mode=any_mode)


def _check_found(
    path: Path, found: os.stat_result, *, is_folder: bool, any_mode: bool = False
) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refusal(path, "is a symbolic link")
    right_kind = stat.S_ISDIR(found.st_mode) if is_folder else stat.S_ISREG(found.st_mode)
    if not right_kind:
        raise _refusal(path, "is no folder" if is_folder else "is no regular file")
    if found.st_uid != os.geteuid():
        raise _refusal(path, f"belongs to another user (uid {found.st_uid})")
    if not any_mode and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _refusal(path, "can be written to by other users")


def _refusal(path: Path, what: str) -> StackStartFailed:
    return StackStartFailed(
        f"`{path}` {what}, so what is in it is not trusted.",
        hint="Choose a folder of your own: export TENANTRY_HOME=<a folder>. If this one is yours, "
        "put owner and mode right (chown, chmod go-w) and make sure of what is in it first.",
    )
