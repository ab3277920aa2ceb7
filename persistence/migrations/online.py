"""Migration steps for tables in use: none blocks writers, each may be killed and run again.

The only module of ours that a migration may import. It imports nothing of ours, and what its
functions do to a database is never changed: landed migrations call them.

Each step commits by itself, so a migration that uses one consists of such steps only.
"""

import logging
from collections.abc import Sequence

from alembic import op
from sqlalchemy import Connection, text

_LOGGER = logging.getLogger("tenantry.migrate")
_POLICY = "migration"
# Short: every writer of the table queues behind a lock request that waits. `migrate` retries.
_LOCK_TIMEOUT = "1s"


def create_index(name: str, *, on: str, unique: bool = False) -> None:
    """Create an index concurrently; drop and rebuild one that a killed run left invalid.

    Args:
        on: what follows `on`: table, columns, `include`, `where`.
    """
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        _wait_without_limit(connection)
        state = connection.scalar(
            text("select indisvalid from pg_index where indexrelid = to_regclass(:name)"),
            {"name": name},
        )
        if state is True:
            return
        if state is False:
            _LOGGER.info("rebuilding invalid index name=%s", name)
            connection.execute(text(f"drop index concurrently {name}"))
        kind = "unique index" if unique else "index"
        connection.execute(text(f"create {kind} concurrently {name} on {on}"))


def drop_index(name: str) -> None:
    """Drop an index concurrently, if it is there."""
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        _wait_without_limit(connection)
        connection.execute(text(f"drop index concurrently if exists {name}"))


def fill_in_batches(
    table: str, *, key: Sequence[str], assign: str, todo: str, batch_size: int = 5_000
) -> int:
    """Update a large table in key order, one transaction per batch; return the rows changed.

    Killed and run again, it passes over the rows that are done: `assign` has to make `todo` false.
    While it works, a policy lets the owner see the rows, who is bound by row-level security.

    Args:
        key: columns of a unique index, none of them null.
        assign: what follows `set`.
        todo: condition of the rows that are not done.
    """
    columns = ", ".join(key)
    after = ", ".join(f":after_{n}" for n in range(len(key)))
    last = ", ".join(f":last_{n}" for n in range(len(key)))
    changed, position = 0, None
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        _let_owner_see(connection, table)
        while True:
            where = "" if position is None else f"where ({columns}) > ({after})"
            values = _bind("after", position or ())
            # The range's end; below the batch size there is no such row, and the rest is taken.
            end = connection.execute(
                text(
                    f"select {columns} from {table} {where} order by {columns} "
                    f"limit 1 offset {batch_size - 1}"
                ),
                values,
            ).first()
            limits = [f"({todo})"]
            if position is not None:
                limits.append(f"({columns}) > ({after})")
            if end is not None:
                limits.append(f"({columns}) <= ({last})")
                values |= _bind("last", end)
            statement = f"update {table} set {assign} where {' and '.join(limits)}"
            changed += connection.execute(text(statement), values).rowcount
            if end is None:
                break
            position = tuple(end)
        connection.execute(text(f"drop policy if exists {_POLICY} on {table}"))
    _LOGGER.info("filled table=%s rows=%d", table, changed)
    return changed


def set_not_null(table: str, column: str) -> None:
    """Forbid nulls in a column; the rows are checked under a lock that lets writers pass."""
    name = f"{table}_{column}_filled"
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.execute(text(f"set lock_timeout = '{_LOCK_TIMEOUT}'"))
        connection.execute(text(f"alter table {table} drop constraint if exists {name}"))
        connection.execute(
            text(
                f"alter table {table} add constraint {name} check ({column} is not null) not valid"
            )
        )
        connection.execute(text(f"alter table {table} validate constraint {name}"))
        # PostgreSQL takes the valid constraint for proof, and reads no row.
        connection.execute(text(f"alter table {table} alter column {column} set not null"))
        connection.execute(text(f"alter table {table} drop constraint {name}"))


def _let_owner_see(connection: Connection, table: str) -> None:
    connection.execute(text(f"set lock_timeout = '{_LOCK_TIMEOUT}'"))
    known = connection.scalar(
        text(
            "select count(*) from pg_policy "
            "where polname = :name and polrelid = to_regclass(:table)"
        ),
        {"name": _POLICY, "table": table},
    )
    if not known:
        connection.execute(
            text(
                f"create policy {_POLICY} on {table} to current_user using (true) with check (true)"
            )
        )


def _wait_without_limit(connection: Connection) -> None:
    # A concurrent build waits for transactions that are older than it, and blocks no writer then.
    connection.execute(text("set lock_timeout = 0"))
    connection.execute(text("set statement_timeout = 0"))


def _bind(name: str, values: Sequence[object]) -> dict[str, object]:
    return {f"{name}_{number}": value for number, value in enumerate(values)}
