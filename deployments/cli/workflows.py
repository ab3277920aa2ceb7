"""`tenantry workflows`: create, check and look at workflows."""

from dataclasses import dataclass
from typing import Annotated

import yaml
from cyclopts import App, Parameter
from rich.text import Text

from agents.registry import default_registry
from deployments.agent_checks import agent_check
from deployments.cli.documents import workflow_document
from deployments.cli.failures import LineOf, problems_json, show_error, show_problems
from deployments.cli.invocation import BAD_RESULT, DONE, WRONG_USE, Invoked
from deployments.cli.opening import Desk, open_desk
from deployments.cli.reading import STANDARD_INPUT, read_file
from deployments.cli.screen import (
    answers,
    clean,
    make_facts,
    make_table,
    show_json,
    show_time,
)
from deployments.cli.source_lines import find_lines
from domain.catalog import Workflow
from domain.definition_text import parse_definition
from domain.errors import ErrorCode, InvalidInput, Problem
from domain.json_data import JsonValue
from domain.workflow_checks import find_problems
from domain.workflows import WorkflowDefinition, WorkflowInvalid
from persistence.missing_sources import find_missing_sources
from persistence.publishing import list_refused
from persistence.workflows import (
    add_version,
    add_workflow,
    find_named,
    get_definition,
    get_workflow,
    list_workflows,
)

app = App(name="workflows", help="Create, check and look at workflows.")

DefinitionFile = Annotated[str, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)]


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a definition's text turned out to be."""

    definition: WorkflowDefinition | None
    problems: tuple[Problem, ...]
    line_of: LineOf


@app.command
def create(*, file: DefinitionFile, call: Invoked) -> int:
    """Create a workflow, or add a version to the one of that name.

    Nothing is written when something is wrong with the definition.

    Args:
        file: The definition, YAML or JSON; `-` reads standard input.
    """
    checked = _check_file(file)
    definition = checked.definition
    if definition is None:
        error = WorkflowInvalid(checked.problems)
        show_error(error, as_json=call.as_json, line_of=checked.line_of)
        return WRONG_USE
    with open_desk(call) as desk:
        result, workflow = _save(desk, definition)
        with desk.session() as session:
            missing = find_missing_sources(session, definition.as_json())
    if call.as_json:
        show_json(
            {
                "result": result,
                "workflow": workflow_document(workflow),
                "warnings": [*problems_json(missing)],
                "missing_connectors": _connectors_in(missing, definition),
            }
        )
        return DONE
    _show_saved(result, workflow)
    for problem in missing:
        answers().print(f"  Note: {clean(problem.message)} {clean(problem.hint)}", soft_wrap=True)
    return DONE


@app.command
def validate(*, file: DefinitionFile, call: Invoked) -> int:
    """Check a definition, and say all that is wrong with it. Needs no database.

    Args:
        file: The definition, YAML or JSON; `-` reads standard input.
    """
    try:
        checked = _check_file(file)
    except InvalidInput as unreadable:
        checked = _Checked(None, unreadable.problems, lambda _pointer: None)
    problems = checked.problems
    if call.as_json:
        found = problems_json(problems, line_of=checked.line_of)
        show_json({"valid": not problems, "problems": [*found]})
        return BAD_RESULT if problems else DONE
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems):,} problems"
        shown = "what you gave" if file == STANDARD_INPUT else file
        show_problems(problems, heading=f"{clean(shown)} has {count}.", line_of=checked.line_of)
        return BAD_RESULT
    if checked.definition is not None:
        agents, edges = len(checked.definition.agents), len(checked.definition.edges)
        answers().print(
            Text.assemble(
                ("✓ ", "green"),
                (clean(checked.definition.name), "bold"),
                f" is valid: {agents} {'agent' if agents == 1 else 'agents'}, "
                f"{edges} {'edge' if edges == 1 else 'edges'}.",
            )
        )
    return DONE


@app.command(name="list")
def list_(*, call: Invoked) -> int:
    """List all workflows with their statistics."""
    with open_desk(call) as desk, desk.session() as session:
        workflows = list_workflows(session)
    if call.as_json:
        show_json({"workflows": [workflow_document(workflow) for workflow in workflows]})
        return DONE
    if not workflows:
        answers().print("No workflows yet. Create one: `tenantry workflows create -f FILE.yaml`")
        return DONE
    table = make_table(
        "name", "id", "version#", "runs#", "completed#", "failed#", "cancelled#", "success#"
    )
    for workflow in workflows:
        table.add_row(
            clean(workflow.name),
            workflow.id,
            str(workflow.version),
            f"{workflow.execution_count:,}",
            f"{workflow.success_count:,}",
            f"{workflow.failure_count:,}",
            f"{workflow.cancelled_count:,}",
            _success_rate(workflow),
        )
    answers().print(table)
    return DONE


@app.command
def show(workflow: str, /, *, call: Invoked) -> int:
    """Show a workflow: its definition, its statistics, and whether it still can run.

    Args:
        workflow: Its id, name or slug.
    """
    with open_desk(call) as desk, desk.session() as session:
        found = get_workflow(session, workflow)
        document = get_definition(session, found.id, version=found.version)
        missing = find_missing_sources(session, document)
        refused = {each.workflow_id: each for each in list_refused(session)}.get(found.id)
    # An agent type of an older release may be gone.
    definition, problems = find_problems(document, agent_check(default_registry()))
    problems = (*problems, *missing)
    if definition is not None:
        document = definition.as_json()  # fields in their usual order, which the column loses
    if call.as_json:
        show_json(
            {
                "workflow": workflow_document(found),
                "definition": document,
                "problems": [*problems_json(problems)],
                "not_published": refused.message if refused else None,
            }
        )
        return DONE
    console = answers()
    console.print(Text(clean(found.name), style="bold"))
    console.print(
        make_facts(
            ("id", found.id),
            ("slug", found.slug),
            ("version", str(found.version)),
            ("changed", f"{show_time(found.updated_at)} UTC"),
            ("runs", _statistics(found)),
            ("problems", "none" if not problems else f"{len(problems)}, see below"),
            ("not published", clean(refused.message) if refused else None),
        )
    )
    console.print()
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    console.print(Text(clean(text.rstrip())), soft_wrap=True)
    if problems:
        show_problems(problems, heading="This workflow cannot run as it is.")
    return DONE


def _check_file(name: str) -> _Checked:
    raw = read_file(name)
    document = parse_definition(raw)
    definition, problems = find_problems(document, agent_check(default_registry()))
    if not problems:
        return _Checked(definition, (), lambda _pointer: None)
    return _Checked(None, problems, find_lines(raw.decode("utf-8-sig")))


def _save(desk: Desk, definition: WorkflowDefinition) -> tuple[str, Workflow]:
    document, description = definition.as_json(), definition.description or ""
    with desk.session() as session:
        before = find_named(session, definition.name)
        if before is None:
            created = add_workflow(
                session,
                document,
                name=definition.name,
                slug=definition.slug,
                description=description,
            )
            return "created", created
        after = add_version(session, before.id, document, description=description)
    return ("unchanged" if after.version == before.version else "versioned"), after


def _connectors_in(missing: list[Problem], definition: WorkflowDefinition) -> list[JsonValue]:
    named = [agent.config.get("connector") for agent in definition.agents]
    numbers = [
        int(problem.pointer.split("/")[2])
        for problem in missing
        if problem.code is ErrorCode.CONNECTOR_NOT_FOUND
    ]
    return [*dict.fromkeys(str(named[number]) for number in numbers)]


def _show_saved(result: str, workflow: Workflow) -> None:
    said = {
        "created": "is created.",
        "versioned": f"has a new version, {workflow.version}.",
        "unchanged": f"is unchanged: version {workflow.version} is the same definition.",
    }[result]
    console = answers()
    console.print(Text.assemble(("✓ ", "green"), (clean(workflow.name), "bold"), f" {said}"))
    console.print(make_facts(("  id", workflow.id), ("  slug", workflow.slug)))
    console.print(f'  Run it: `tenantry run {workflow.slug} --input "…"`')


def _success_rate(workflow: Workflow) -> str:
    if not workflow.execution_count:
        return ""
    return f"{workflow.success_count / workflow.execution_count:.0%}"


def _statistics(workflow: Workflow) -> str:
    if not workflow.execution_count:
        return "none yet"
    return (
        f"{workflow.execution_count:,}: {workflow.success_count:,} completed, "
        f"{workflow.failure_count:,} failed, {workflow.cancelled_count:,} cancelled "
        f"({_success_rate(workflow)} success)"
    )
