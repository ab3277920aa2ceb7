"""Fresh databases for tests: copies of one that was migrated once."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from domain.ids import OrgId, UserId
from persistence.migrate import migrate
from persistence.organizations import ensure_member, ensure_organization
from persistence.roles import APP_ROLE, PLATFORM_ROLE, derive_role_url
from persistence.sessions import Database, open_database

ACME, GLOBEX = OrgId("org_acme"), OrgId("org_globex")
ADMIN = UserId("user_admin")
AUDIT_KEY = b"a key for tests, of 32 bytes or more"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cluster:
    """A real PostgreSQL: as its superuser, and as our owner."""

    superuser: URL
    owner: URL

    def make_template(self) -> str:
        """Make a migrated database to copy from."""
        name = self._new_name("template")
        self._run_as_owner(f"create database {name}")
        owner = self.owner.set(database=name)
        migrate(
            owner,
            app_url=derive_role_url(owner, APP_ROLE),
            platform_url=derive_role_url(owner, PLATFORM_ROLE),
        )
        return name

    def copy(self, template: str) -> URL:
        """Copy a database that nobody is connected to; return the copy's URL as its owner."""
        name = self._new_name("test")
        self._run_as_owner(f"create database {name} template {template}")
        return self.owner.set(database=name)

    def drop(self, url: URL) -> None:
        """Remove a database, whoever is connected.

        As the superuser: the owner may not end an autovacuum worker that is in it just now.
        """
        self._run(self.superuser, f"drop database {url.database} with (force)")

    def as_superuser(self, url: URL) -> URL:
        """Give a database's URL as the superuser, whom no policy and no trigger stops."""
        return self.superuser.set(database=url.database)

    def _new_name(self, kind: str) -> str:
        return f"{kind}_{os.getpid()}_{next(_numbers)}"

    def _run_as_owner(self, statement: str) -> None:
        self._run(self.owner, statement)

    def _run(self, who: URL, statement: str) -> None:
        engine = create_engine(
            who.set(database="postgres"),
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
        )
        with engine.connect() as connection:
            connection.execute(text(statement))


@contextmanager
def open_roles(owner: URL) -> Iterator[Database]:
    """Open a database as the roles that our processes have."""
    database = open_database(
        app_url=derive_role_url(owner, APP_ROLE),
        platform_url=derive_role_url(owner, PLATFORM_ROLE),
        audit_key=AUDIT_KEY,
        pool_size=10,
    )
    try:
        yield database
    finally:
        database.close()


def add_organizations(database: Database) -> None:
    """Make the two organizations that tests play with, with one admin in both."""
    with database.for_platform() as session:
        for org_id, name in ((ACME, "Acme"), (GLOBEX, "Globex")):
            ensure_organization(session, org_id, name=name, slug=name.lower())
            ensure_member(session, org_id, ADMIN, name="Admin", role="admin")


def cluster_of(superuser_url: str, owner_url: str) -> Cluster:
    """Wrap the URLs of a running PostgreSQL."""
    return Cluster(make_url(superuser_url), make_url(owner_url))
