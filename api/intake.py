"""Single executions that are asked for at the same time are written together.

All writers of an organization wait for each other at the end of its audit trail, until the commit.
One transaction for each request would make their number a second the number of commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from api.batching import Together
from domain.errors import TenantryError
from domain.execution_queries import ExecutionRecord
from domain.ids import OrgId, UserId
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_intake import SingleWish, add_requested
from persistence.sessions import Database, Origin


@dataclass(frozen=True, slots=True)
class Requester:
    """On whose behalf, and from where: what the audit trail keeps of a transaction."""

    org_id: OrgId
    user_id: UserId
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Line:
    """Only like requests go together: of one requester, for one workflow and version."""

    requester: Requester
    workflow: str
    version: int | None


class Intake:
    """Adds executions; one for each process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together = Together[_Line, SingleWish, ExecutionRecord](
            self._write, name="intake", threads=4
        )

    async def add(self, requester: Requester, wish: SingleWish) -> ExecutionRecord:
        """Queue an execution; it is committed when this returns.

        Raises:
            TenantryError: what `add_requested` says of it, or the database is away.
        """
        return await self._together.ask(_Line(requester, wish.workflow, wish.version), wish)

    def _write(
        self, line: _Line, wishes: Sequence[SingleWish]
    ) -> Sequence[ExecutionRecord | Exception]:
        try:
            return self._transact(line, wishes)
        except DatabaseUnreachable:
            return [DatabaseUnreachable() for _ in wishes]
        except Exception as error:
            if len(wishes) == 1:
                return [error]
        # One that Postgres refuses must not take the others along.
        return [self._write(line, [wish])[0] for wish in wishes]

    def _transact(
        self, line: _Line, wishes: Sequence[SingleWish]
    ) -> list[ExecutionRecord | TenantryError]:
        who = line.requester
        with self._database.org(who.org_id, user_id=who.user_id, origin=who.origin) as session:
            return add_requested(session, wishes)
