"""Run the migrations on the connection that `persistence.migrate` hands over."""

from typing import cast

from alembic import context
from sqlalchemy import Connection

connection = cast(Connection, context.config.attributes["connection"])
context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
