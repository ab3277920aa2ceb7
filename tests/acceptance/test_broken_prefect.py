"""Prefect's server answers, and does not do its work."""

from itertools import groupby

import pytest

from domain.executions import ExecutionStatus
from persistence.sessions import Database
from tests.support.broken_prefect import broken_prefect
from tests.support.databases import ACME
from tests.support.factories import chain, queue, save_workflow
from tests.support.prefect_api import PrefectApi
from tests.support.services import Services, wait_for, wait_until_final

PROBE = {"type": "probe", "config": {}}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_handed_over", [False, True], ids=["of the queue", "handed over"])
def test_a_run_whose_states_prefect_answers_with_500_is_not_failed_there(
    services: Services, database: Database, is_handed_over: bool
):
    api = PrefectApi(services.stack.prefect_api_url)
    definition = chain("Answered", PROBE, PROBE).model_copy(update={"default_input": "x"})
    workflow = save_workflow(database, ACME, definition)
    with broken_prefect(services.stack.prefect_api_url) as broken:
        if is_handed_over:
            # The steward publishes it; its own way to Prefect is whole.
            services.steward()
            deployment = wait_for("its deployment", lambda: find_deployment(api))
            services.environ["PREFECT_API_URL"] = broken.url
            services.worker()
            flow_run_id = api.run_deployment(deployment)["id"]
        else:
            services.environ["PREFECT_API_URL"] = broken.url
            services.worker()
            added = queue(database, ACME, workflow)
            (execution,) = wait_until_final(database, ACME, [added.id])
            assert execution.status is ExecutionStatus.COMPLETED
            assert execution.attempt == 1
            flow_run_id = str(execution.prefect_flow_run_id)

        def ended() -> str | None:
            found = api.flow_run(flow_run_id)["state"]["type"]
            return found if found in ("COMPLETED", "FAILED", "CRASHED") else None

        assert wait_for("its end", ended) == "COMPLETED"
        # Let the third proposal arrive, so that nobody asks when the server is gone.
        wait_for("the answer", lambda: broken.proposals["COMPLETED"] >= 3)
    told = [type for type, _ in groupby(state["type"] for state in api.states(flow_run_id))]
    assert told[-2:] == ["RUNNING", "COMPLETED"]
    assert not {"FAILED", "CRASHED"} & set(told)


def find_deployment(api: PrefectApi) -> str | None:
    found = api.deployments("acme.answered", "live")
    return found[0]["id"] if found else None
