"""`tenantry demo`: the main job on real data, from an empty machine to an audited answer."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from agents.connectors.listed_companies import listed_companies
from agents.connectors.parquet import dataset_bytes
from agents.registry import AgentRegistry, default_registry
from deployments.agent_checks import agent_check
from deployments.demo_report import DemoResult, print_report, report_document
from deployments.documents import flow_run_url
from deployments.examples import (
    ENTERPRISE_LEAD_SEARCH,
    TEST_SALES_INTELLIGENCE,
    read_example,
)
from deployments.installation import Installation, open_installation
from deployments.settings import Settings
from deployments.waiting import wait_for_end
from domain.catalog import Workflow
from domain.definition_text import parse_definition
from domain.errors import Problem
from domain.executions import Execution, Trigger
from domain.ids import OrgId, UserId
from domain.json_data import JsonObject
from domain.workflow_checks import check_definition
from domain.workflows import WorkflowInvalid
from persistence.audit import list_audit, verify_audit
from persistence.connectors import set_connector, set_dataset
from persistence.executions import add_execution
from persistence.organizations import ensure_member, ensure_organization
from persistence.workflows import add_version, add_workflow, find_named, get_workflow

ORG = OrgId("org_demo")
USER = UserId("user_admin")
REQUEST = "Find qualified leads for enterprise software in San Francisco with 100+ employees"

Say = Callable[[str], None]


def run_demo(settings: Settings, *, as_json: bool) -> int:
    """Run the demo and show what came of it; return the exit code.

    Everything it makes stays in the installation; a second run adds executions to it.
    """
    console = Console(stderr=True)
    with console.status("Starting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(f"{text} …")

        with open_installation(settings, services=True, say=say) as installation:
            result = _Demo(installation, default_registry(), say).run()
    if as_json:
        sys.stdout.write(json.dumps(report_document(result), ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(Console(), result)
    return 0 if result.is_as_promised else 1


@dataclass(frozen=True, slots=True)
class _Demo:
    """The steps of the demo on an open installation."""

    installation: Installation
    registry: AgentRegistry
    say: Say

    def run(self) -> DemoResult:
        self.say("Loading 1,837 listed companies as the organization's CRM")
        self._set_up()
        search = self._save(self._read(ENTERPRISE_LEAD_SEARCH))
        refused = self._refuse(self._read(TEST_SALES_INTELLIGENCE))
        broken = self._save(self._point_to_missing_table(self._read(TEST_SALES_INTELLIGENCE)))
        self.say("Waiting for the worker to search for leads")
        found = self._execute(search)
        self.say("Running a workflow whose table is missing")
        failed = self._execute(broken)
        database = self.installation.database
        with database.org(ORG, snapshot=True) as session:
            return DemoResult(
                request=REQUEST,
                execution=found,
                statistics=get_workflow(session, search.id),
                refused_name=broken.name,
                refused=refused,
                failed=failed,
                failed_statistics=get_workflow(session, broken.id),
                audit=list_audit(session, resource_id=found.id)[::-1],
                failed_audit=list_audit(session, resource_id=failed.id)[::-1],
                verification=verify_audit(session),
                prefect_url=flow_run_url(self.installation.settings.prefect_ui_url, found),
                home=str(self.installation.settings.home),
            )

    def _set_up(self) -> None:
        database = self.installation.database
        with database.for_platform() as session:
            ensure_organization(session, ORG, name="Demo", slug="demo")
            ensure_member(session, ORG, USER, name="Admin", role="admin")
        companies = listed_companies()
        content = dataset_bytes(companies)
        with database.org(ORG, user_id=USER) as session:
            set_connector(session, "crm", {"kind": "dataset"})
            set_dataset(session, "companies", content, row_count=len(companies))

    def _read(self, example: str) -> JsonObject:
        return parse_definition(read_example(example))

    def _refuse(self, document: JsonObject) -> tuple[Problem, ...]:
        try:
            check_definition(document, check_agent=agent_check(self.registry))
        except WorkflowInvalid as error:
            return error.problems
        return ()

    def _point_to_missing_table(self, document: JsonObject) -> JsonObject:
        definition = json.loads(json.dumps(document))
        definition["agents"][1]["config"] = {"connector": "crm", "object_type": "accounts"}
        return definition

    def _save(self, document: JsonObject) -> Workflow:
        definition = check_definition(document, check_agent=agent_check(self.registry))
        with self.installation.database.org(ORG, user_id=USER) as session:
            known = find_named(session, definition.name)
            if known is not None:
                return add_version(
                    session,
                    known.id,
                    definition.as_json(),
                    description=definition.description or "",
                )
            return add_workflow(
                session,
                definition.as_json(),
                name=definition.name,
                slug=definition.slug,
                description=definition.description or "",
            )

    def _execute(self, workflow: Workflow) -> Execution:
        database = self.installation.database
        with database.org(ORG, user_id=USER) as session:
            execution = add_execution(
                session,
                workflow.id,
                version=workflow.version,
                input_data={"text": REQUEST},
                trigger=Trigger.CLI,
            )
        return wait_for_end(database, ORG, execution.id)
