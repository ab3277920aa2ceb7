"""Let the role `tenantry_backup` read every row, so that `pg_dump` saves what is there.

`pg_dump` as the owner is refused, or, with `--enable-row-security`, saves empty tables: policies
are forced upon the owner. Managed services grant no BYPASSRLS: each table has a policy instead.
"""

from sqlalchemy import Connection, text

from persistence.roles import BACKUP_ROLE

_POLICY = "backup"
_IS_THERE = text("select count(*) from pg_roles where rolname = :role")
_WITHOUT_POLICY = text("""
select c.relname from pg_class c
where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and c.relrowsecurity
    and not exists (
        select from pg_policy p where p.polrelid = c.oid and p.polname = :policy
    )
order by 1
""")


def has_backup_role(connection: Connection) -> bool:
    """Say whether the role is there: without CREATEROLE an administrator has to make it."""
    return bool(connection.scalar(_IS_THERE, {"role": BACKUP_ROLE}))


def list_tables_to_open(connection: Connection) -> list[str]:
    """List the tables whose rows the role cannot read yet."""
    return list(connection.scalars(_WITHOUT_POLICY, {"policy": _POLICY}))


def open_table(connection: Connection, table: str) -> None:
    """Let the role read a table's rows; the table is locked for milliseconds."""
    connection.execute(text("set local lock_timeout = '1s'"))
    connection.execute(
        text(f'create policy {_POLICY} on "{table}" for select to {BACKUP_ROLE} using (true)')
    )


def grant_reading(connection: Connection) -> None:
    """Grant what `pg_dump` reads beside the rows; again, it changes nothing."""
    connection.execute(text("set local lock_timeout = '1s'"))
    connection.execute(text(f"grant usage on schema public to {BACKUP_ROLE}"))
    connection.execute(text(f"grant select on all tables in schema public to {BACKUP_ROLE}"))
    connection.execute(text(f"grant select on all sequences in schema public to {BACKUP_ROLE}"))
