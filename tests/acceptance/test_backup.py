"""`docs/backup.md` works as it is written, and the role reads everything and nothing else."""

import os
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from deployments.embedded.layout import Home
from deployments.embedded.programs import find_programs
from persistence.audit import verify_audit
from persistence.roles import BACKUP_ROLE, derive_role_url
from tests.acceptance.cli.conftest import EXECUTABLE
from tests.persistence.test_isolation import fill_every_table
from tests.support.databases import ACME, AUDIT_KEY, GLOBEX, Cluster, open_roles
from tests.support.pages import play, read_steps

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backup.md"
PASSWORD = "for-this-test-only"
TABLES = text(
    "select relname from pg_class where relkind in ('r', 'p') "
    "and relnamespace = 'public'::regnamespace order by 1"
)
CLOSED = text(
    "select relname from pg_class c where relkind in ('r', 'p') "
    "and relnamespace = 'public'::regnamespace "
    "and (not has_table_privilege('tenantry_backup', c.oid, 'select') or relrowsecurity and not "
    "exists (select from pg_policies p where p.tablename = c.relname and p.cmd = 'SELECT' "
    "and p.roles = '{tenantry_backup}' and p.qual = 'true'))"
)


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def count_rows(url: URL) -> dict[str, int]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        tables = connection.scalars(TABLES).all()
        return {
            table: connection.scalar(text(f"select count(*) from {table}")) or 0 for table in tables
        }


def test_every_table_may_be_read_by_the_backup_role(database_url: URL):
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        assert connection.scalars(CLOSED).all() == []


def test_the_backup_role_reads_every_row_and_writes_none(
    cluster: Cluster, database_url: URL, database
):
    for org_id in (ACME, GLOBEX):
        fill_every_table(database, org_id)
    as_superuser = cluster.as_superuser(database_url)
    with create_engine(as_superuser, poolclass=NullPool).connect() as superuser:
        superuser.execute(text(f"set role {BACKUP_ROLE}"))
        read = {
            table: superuser.scalar(text(f"select count(*) from {table}"))
            for table in superuser.scalars(TABLES).all()
        }
        assert read == count_rows(as_superuser)
        with pytest.raises(ProgrammingError, match="permission denied"):
            superuser.execute(text("delete from executions"))


@pytest.mark.timeout(300)
def test_the_page_saves_and_restores_everything(
    cluster: Cluster, template: str, database_url: URL, database, stack, tmp_path: Path
):
    for org_id in (ACME, GLOBEX):
        fill_every_table(database, org_id)
    restored = cluster.copy("template1")
    folder = tmp_path / "work"
    folder.mkdir()
    programs = find_programs(Home(stack.settings.home))
    environ = {
        "PATH": os.pathsep.join(
            [str(EXECUTABLE.parent), str(Path(programs.path("pg_dump")).parent), os.defpath]
        ),
        "TENANTRY_HOME": str(tmp_path / "home"),
        "TENANTRY_AUDIT_KEY": AUDIT_KEY.decode(),
        "TENANTRY_DATABASE_URL": plain(database_url),
        "RESTORED_URL": plain(restored),
        "BACKUP_URL": plain(derive_role_url(database_url, BACKUP_ROLE).set(password=PASSWORD)),
        "BACKUP_PASSWORD": PASSWORD,
        "ORG": ACME,
    }
    try:
        played = play(read_steps(PAGE.read_text(encoding="utf-8")), folder, environ, timeout_s=250)
        assert (played.code, played.complaints) == (0, "")
        before, after = (count_rows(cluster.as_superuser(url)) for url in (database_url, restored))
        # The command writes the catalogue of agent types anew; the template has none.
        assert after | {"agent_types": 0} == before
        assert before["executions"] > 0
        with open_roles(restored) as copied:
            for org_id in (ACME, GLOBEX):
                with copied.org(org_id) as session:
                    assert verify_audit(session).first_bad_seq is None
    finally:
        cluster.drop(restored)
