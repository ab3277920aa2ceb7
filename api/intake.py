"""Single executions that are asked for at the same time are written together.

All writers of an organization wait for each other at the end of its audit trail, until the commit.
One transaction for each request would make their number a second the number of commits. So
whoever comes while a transaction is being written waits in line, and the next one takes all of
the line along. A request that comes alone is written at once.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.errors import TenantryError
from domain.execution_queries import ExecutionRecord
from domain.ids import OrgId, UserId
from persistence.driver_errors import DatabaseUnreachable
from persistence.execution_intake import SingleWish, add_requested
from persistence.sessions import Database, Origin

_MAX_TOGETHER = 64


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


@dataclass(slots=True)
class _Ticket:
    wish: SingleWish
    turn: threading.Event = field(default_factory=threading.Event)
    answer: ExecutionRecord | Exception | None = None


class Intake:
    """Adds executions; one for each process. Its callers are threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        # A line that is there has a thread that is writing.
        self._waiting: dict[_Line, deque[_Ticket]] = {}

    def add(self, requester: Requester, wish: SingleWish) -> ExecutionRecord:
        """Queue an execution; it is committed when this returns.

        Raises:
            TenantryError: what `add_requested` says of it, or the database is away.
        """
        line, ticket = _Line(requester, wish.workflow, wish.version), _Ticket(wish)
        with self._lock:
            if line in self._waiting:
                self._waiting[line].append(ticket)
            else:
                self._waiting[line] = deque()
                ticket.turn.set()
        ticket.turn.wait()
        if ticket.answer is None:
            self._write(line, ticket)
        if isinstance(ticket.answer, ExecutionRecord):
            return ticket.answer
        raise ticket.answer or AssertionError("a turn without an answer")

    def _write(self, line: _Line, own: _Ticket) -> None:
        with self._lock:
            waiting = self._waiting[line]
            others = [waiting.popleft() for _ in range(min(len(waiting), _MAX_TOGETHER - 1))]
        tickets = [own, *others]
        # Whatever happens, nobody is left waiting.
        answers: Sequence[ExecutionRecord | Exception] = [DatabaseUnreachable() for _ in tickets]
        try:
            answers = self._write_all(line, [ticket.wish for ticket in tickets])
        finally:
            self._pass_on(line)
            for ticket, answer in zip(tickets, answers, strict=True):
                ticket.answer = answer
                ticket.turn.set()

    def _pass_on(self, line: _Line) -> None:
        with self._lock:
            waiting = self._waiting[line]
            if waiting:
                waiting.popleft().turn.set()
            else:
                del self._waiting[line]

    def _write_all(
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
        return [self._write_all(line, [wish])[0] for wish in wishes]

    def _transact(
        self, line: _Line, wishes: Sequence[SingleWish]
    ) -> list[ExecutionRecord | TenantryError]:
        who = line.requester
        with self._database.org(who.org_id, user_id=who.user_id, origin=who.origin) as session:
            return add_requested(session, wishes)
