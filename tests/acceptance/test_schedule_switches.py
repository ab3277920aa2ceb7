"""Schedules that are switched on and off in Prefect and here: both sides say the same."""

from typing import Any

import httpx
import pytest

from persistence.schedules import (
    add_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
)
from persistence.sessions import Database
from tests.support.databases import ACME, ADMIN
from tests.support.factories import chain, save_workflow
from tests.support.services import Services, wait_for

PROBE = {"type": "probe", "config": {}}


def find_deployment(services: Services, flow_name: str) -> dict[str, Any] | None:
    url = f"{services.stack.prefect_api_url}/deployments/name/{flow_name}/live"
    answer = httpx.get(url, timeout=30)
    return None if answer.status_code == 404 else answer.raise_for_status().json()


def switches_of(services: Services) -> dict[str, bool]:
    found = find_deployment(services, "acme.switched") or {"schedules": []}
    return {each["slug"]: each["active"] for each in found["schedules"]}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_somebody_switches_in_prefect_holds_here_too(services: Services, database: Database):
    workflow = save_workflow(database, ACME, chain("Switched", PROBE))
    with database.org(ACME, user_id=ADMIN) as session:
        first, second = (
            add_schedule(session, workflow.id, cron=cron, timezone="UTC", input_data={})
            for cron in ("0 4 * * *", "0 5 * * *")
        )
    services.steward()

    def there() -> dict[str, Any] | None:
        found = find_deployment(services, "acme.switched")
        return found if found and len(found["schedules"]) == 2 else None

    def paused_by() -> dict[str, str | None]:
        with database.org(ACME) as session:
            return {each.id: each.paused_by for each in list_schedules(session)}

    deployment = wait_for("it published", there)
    place = f"deployments/{deployment['id']}"
    slots = {each["slug"]: each["id"] for each in deployment["schedules"]}
    with httpx.Client(base_url=services.stack.prefect_api_url, timeout=30) as client:

        def do(method: str, path: str, body: dict[str, Any]) -> None:
            client.request(method, f"{place}{path}", json=body).raise_for_status()

        do("PATCH", f"/schedules/{slots[first.id]}", {"active": False})
        off = {first.id: "prefect", second.id: None}
        wait_for("it paused here", lambda: paused_by() == off, timeout_s=60)
        # Publishing again for another reason keeps the switch.
        with database.org(ACME, user_id=ADMIN) as session:
            third = add_schedule(
                session, workflow.id, cron="0 6 * * *", timezone="UTC", input_data={}
            )
        kept = {first.id: False, second.id: True, third.id: True}
        wait_for("the third published", lambda: switches_of(services) == kept, timeout_s=60)

        do("POST", "/pause_deployment", {})
        held = {first.id: "prefect", second.id: "prefect deployment"}
        held[third.id] = "prefect deployment"
        wait_for("all paused here", lambda: paused_by() == held, timeout_s=60)
        assert (find_deployment(services, "acme.switched") or {})["paused"]
        do("POST", "/resume_deployment", {})
        free = {first.id: "prefect", second.id: None, third.id: None}
        wait_for("the others resumed", lambda: paused_by() == free, timeout_s=60)

    with database.org(ACME, user_id=ADMIN) as session:
        resume_schedule(session, first.id)
        pause_schedule(session, second.id)
    ours = {first.id: True, second.id: False, third.id: True}
    wait_for("our own switches there", lambda: switches_of(services) == ours, timeout_s=60)
