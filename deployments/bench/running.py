"""Run a benchmark: all contenders in turns, round after round, so that noise hits all of them."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from deployments.bench.failures import BenchFailed
from deployments.bench.figures import (
    BARE,
    COALESCED,
    DBOS,
    PROCESS_WORKER,
    SINGLE,
    Line,
    Measured,
)
from deployments.bench.ground import Ground, Say, open_ground
from deployments.bench.process_worker import process_worker
from deployments.bench.tenants import Tenant, add_tenants, wait_published
from deployments.bench.turns import (
    DBOS_MISSING,
    IN_TURNS,
    Plan,
    Preparation,
    Turn,
    has_dbos,
    prepare,
)
from deployments.bench.usage import cpu_between, settle
from domain.json_data import JsonObject
from persistence.audit import verify_audit

ALL = (*IN_TURNS, PROCESS_WORKER)
NEEDS_TENANTRY = frozenset({SINGLE, COALESCED})
NEEDS_PREFECT = NEEDS_TENANTRY | {BARE, PROCESS_WORKER}


@dataclass(slots=True)
class Outcome:
    """What came out."""

    lines: list[Line] = field(default_factory=list[Line])
    facts: JsonObject = field(default_factory=JsonObject)
    problems: list[str] = field(default_factory=list[str])
    """Sentences that say what makes figures worthless, or what could not be measured."""


def run_bench(plan: Plan, *, say: Say) -> Outcome:
    """Start everything, measure in rounds, stop everything.

    What goes wrong with one contender stands in `problems`; the others are measured.
    """
    outcome = Outcome()
    prefect = bool(plan.only & NEEDS_PREFECT)
    with open_ground(prefect=prefect, say=say) as ground, ExitStack() as stack:
        try:
            _measure_all(plan, ground, stack, outcome, say=say)
        except BenchFailed as failed:
            outcome.problems.append(str(failed))
    return outcome


def _measure_all(
    plan: Plan, ground: Ground, stack: ExitStack, outcome: Outcome, *, say: Say
) -> None:
    tenants: Sequence[Tenant] = ()
    if plan.only & NEEDS_TENANTRY:
        say("Starting worker, steward and API")
        tenants = start_tenantry(ground, plan.orgs)
        stack.enter_context(ground.working())
    turns: list[Turn] = []
    given = Preparation(plan, ground, tenants, stack, outcome.facts)
    for contender in IN_TURNS:
        if contender in plan.only:
            say(f"Getting warm: {contender}")
            try:
                turns += prepare(contender, given)
            except BenchFailed as failed:
                outcome.problems.append(f"{contender}: {failed}")
    for number in range(1, plan.rounds + 1):
        _run_round(ground, turns, outcome, say=say, title=f"Round {number} of {plan.rounds}")
    if PROCESS_WORKER in plan.only:
        turns.append(_run_process_worker(plan, ground, outcome, say=say))
    outcome.lines = [turn.line for turn in turns]
    if DBOS in plan.only and not has_dbos():
        outcome.lines.append(Line(DBOS, None, (), missing=DBOS_MISSING))
    if tenants:
        say("Checking the audit trails")
        outcome.problems += check_trails(ground, tenants)


def start_tenantry(ground: Ground, orgs: int) -> list[Tenant]:
    """Start all of Tenantry but its worker, with organizations that have a workflow each.

    Raises:
        BenchFailed: the workflows do not get to Prefect.
    """
    ground.start_services()
    tenants = add_tenants(ground.database, orgs)
    wait_published(ground, tenants)
    return tenants


def take_turn(ground: Ground, measure: Callable[[], Measured]) -> Measured:
    """Measure once, from a quiet stack to a quiet stack, with what the processes have used.

    Raises:
        BenchFailed: the contender broke off, or wrote the wrong thing.
    """
    settle(ground.usage)
    before = ground.usage()
    measured = measure()
    at_end = ground.usage()
    # What is left to do after the last answer belongs to this contender, too.
    settle(ground.usage)
    used = cpu_between(before, ground.usage())
    memory = {name: use.rss_mb for name, use in at_end.items()}
    return measured.using(used, memory).checked()


def check_trails(ground: Ground, tenants: Sequence[Tenant]) -> list[str]:
    """Walk the audit chains of all organizations; say which do not hold."""
    problems: list[str] = []
    for tenant in tenants:
        with ground.database.org(tenant.org_id, snapshot=True) as session:
            if not verify_audit(session).ok:
                problems.append(f"The audit trail of {tenant.org_id} does not hold.")
    return problems


@contextmanager
def open_tenantry(orgs: int, *, say: Say) -> Generator[tuple[Ground, list[Tenant]]]:
    """Start everything but a worker, for a study of Tenantry alone."""
    with open_ground(prefect=True, say=say) as ground:
        say("Starting steward and API")
        yield ground, start_tenantry(ground, orgs)


def _run_round(
    ground: Ground, turns: Sequence[Turn], outcome: Outcome, *, say: Say, title: str
) -> None:
    for turn in turns:
        if turn.rounds_left == 0:
            continue
        turn.rounds_left -= 1
        at_once = "" if turn.at_once is None else f", {turn.at_once} at a time"
        say(f"{title}: {turn.contender}{at_once}")
        try:
            turn.rounds.append(take_turn(ground, turn.measure))
        except BenchFailed as failed:
            # Its next rounds would be as worthless; the other contenders' are not.
            turn.rounds_left = 0
            outcome.problems.append(f"{turn.contender}: {failed}")


def _run_process_worker(plan: Plan, ground: Ground, outcome: Outcome, *, say: Say) -> Turn:
    # After the rounds: it asks Prefect for work every second, which the others would pay for.
    say("Starting Prefect's process worker")
    runs = plan.process_worker_runs
    with process_worker(ground) as measure:
        turn = Turn(PROCESS_WORKER, 1, measure, runs)
        for number in range(1, runs + 1):
            _run_round(ground, [turn], outcome, say=say, title=f"Run {number} of {runs}")
        return turn
