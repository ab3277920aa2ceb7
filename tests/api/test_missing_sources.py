"""A workflow that reads from what is not there is told so early, and is not run."""

import httpx
import pytest

from persistence.connectors import set_connector, set_dataset
from tests.api.conftest import Api
from tests.api.test_workflows import catalogue, search
from tests.support.databases import ACME, GLOBEX

__all__ = ["catalogue"]


def codes(document: dict) -> list[str]:
    return [f"{each['code']} {each['pointer']}" for each in document["warnings"]]


def test_a_missing_connector_is_told_everywhere_and_refused(database, admin: httpx.Client):
    with database.org(GLOBEX) as session:
        set_connector(session, "crm", {"kind": "listed_companies"})
    wanted = ["connector.not_found /agents/1/config/connector"]
    valid = admin.post("/workflows/validate", json=search()).json()
    assert (valid["valid"], codes(valid)) == (True, wanted)
    made = admin.post("/workflows", json=search())
    assert (made.status_code, codes(made.json())) == (201, wanted)
    assert codes(admin.get("/workflows/search").json()) == wanted
    for path, wish in (("", {"input": "x"}), ("/bulk", {"inputs": ["x"]})):
        answer = admin.post(f"/executions{path}", json={"workflow_id": "search", **wish})
        assert (answer.status_code, answer.json()["code"]) == (409, "workflow.not_runnable")
        assert "`crm`" in answer.json()["detail"]
    with database.org(ACME) as session:
        set_connector(session, "crm", {"kind": "listed_companies"})
    assert codes(admin.get("/workflows/search").json()) == []
    answer = admin.post("/executions", json={"workflow_id": "search", "input": "x"})
    assert answer.status_code == 202


def test_a_missing_data_set_is_told_and_refused(database, admin: httpx.Client):
    with database.org(ACME) as session:
        set_connector(session, "crm", {"kind": "dataset"})
    made = admin.post("/workflows", json=search()).json()
    assert codes(made) == ["data.not_found /agents/1/config/object_type"]
    wish = {"workflow_id": made["id"], "input": "x"}
    assert admin.post("/executions", json=wish).json()["code"] == "workflow.not_runnable"
    with database.org(ACME) as session:
        set_dataset(session, "companies", b"x", row_count=1)
    assert admin.post("/executions", json=wish).status_code == 202


@pytest.mark.parametrize(
    "agents", [{}, "x", [1], [{"type": "sales_intelligence"}], [{"config": 1}]]
)
def test_a_definition_of_any_form_is_looked_at(api: Api, admin: httpx.Client, agents: object):
    answer = admin.post("/workflows/validate", json={"name": "x", "agents": agents})
    assert answer.status_code == 200
    assert answer.json()["warnings"] == []
