"""What PostgreSQL says of deadlocks."""

from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import URL


@dataclass(frozen=True)
class DeadlockLog:
    """Deadlocks in one database: in the log, from a place on, and in the statistics."""

    log: Path
    begins_at: int
    superuser: URL

    def lines(self) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(self.begins_at)
            said = file.read().decode(errors="replace")
        database = f"@{self.superuser.database} "
        return [line for line in said.splitlines() if database in line and "deadlock" in line]

    def count(self) -> int:
        query = "select deadlocks from pg_stat_database where datname = current_database()"
        url = self.superuser.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])
