"""Compiled workflows by id and version, each compiled once per process."""

from collections import OrderedDict

from domain.ids import OrgId, WorkflowId
from domain.workflows import WorkflowDefinition
from flows.compiler import CompiledWorkflow, compile_workflow
from flows.runtime import Runtime
from persistence.organizations import get_org_slug
from persistence.workflows import WorkflowNotFound, find_owner, get_definition

_KEPT = 512
_compiled: OrderedDict[tuple[int, WorkflowId, int], CompiledWorkflow] = OrderedDict()


def load_workflow(
    runtime: Runtime, workflow_id: WorkflowId, *, version: int | None = None
) -> CompiledWorkflow:
    """Compile a workflow version (the newest, if none is given) or return it from memory.

    Raises:
        WorkflowNotFound: there is no such workflow or version.
    """
    if version is not None:
        known = _compiled.get((id(runtime), workflow_id, version))
        if known is not None:
            return known
    with runtime.database.for_platform() as session:
        workflow = find_owner(session, workflow_id)
        if workflow is None:
            raise WorkflowNotFound(workflow_id)
        org_slug = get_org_slug(session, workflow.org_id)
    wanted = version or workflow.version
    definition = _read(runtime, workflow.org_id, workflow_id, wanted)
    compiled = compile_workflow(
        runtime,
        definition,
        workflow_id=workflow_id,
        version=wanted,
        org_slug=org_slug,
        workflow_slug=workflow.slug,
    )
    _compiled[(id(runtime), workflow_id, wanted)] = compiled
    while len(_compiled) > _KEPT:
        _compiled.popitem(last=False)
    return compiled


def _read(
    runtime: Runtime, org_id: OrgId, workflow_id: WorkflowId, version: int
) -> WorkflowDefinition:
    with runtime.database.org(org_id) as session:
        return WorkflowDefinition.model_validate(
            get_definition(session, workflow_id, version=version)
        )
