"""Flows of the platform itself, which `prefect.yaml` deploys. No tenant's flow is here.

They check and report; what must work while Prefect's scheduler does not is the steward's.
"""

import asyncio

from prefect import Flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from domain.audit import Verification
from flows.redaction import redact_errors
from flows.runtime import Runtime, get_runtime
from persistence.audit import verify_audit
from persistence.organizations import list_organizations


async def _verify_audit_trails() -> State:
    """Verify every organization's audit chain; fail with the names of those that are broken."""
    with redact_errors("the verification of the audit trails"):
        found = await asyncio.to_thread(_verify_all, get_runtime())
        await acreate_table_artifact(
            key="audit-trails",
            table=[
                {
                    "organization": slug,
                    "entries": result.checked,
                    "ok": result.ok,
                    "first bad entry": result.first_bad_seq or "",
                }
                for slug, result in found
            ],
            description="The audit chain of each organization. `tenantry audit verify` says more.",
        )
    broken = [slug for slug, result in found if not result.ok]
    if broken:
        return Failed(message=f"{len(broken)} of {len(found)} broken: {', '.join(broken[:20])}")
    return Completed(message=f"{len(found)} chains hold")


def _verify_all(runtime: Runtime) -> list[tuple[str, Verification]]:
    with runtime.database.for_platform() as session:
        organizations = list_organizations(session)
    results: list[tuple[str, Verification]] = []
    for organization in organizations:
        with runtime.database.org(organization.id, snapshot=True) as session:
            results.append((organization.slug, verify_audit(session)))
    return results


verify_audit_trails = Flow(
    _verify_audit_trails, name="platform.verify-audit-trails", version="1", persist_result=False
)

PLATFORM_FLOWS = {"flows.platform.verify_audit_trails": verify_audit_trails}
"""Entrypoints that a worker runs although they belong to no organization."""
