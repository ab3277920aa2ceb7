"""The catalogue of agent types over HTTP."""

import httpx
from jsonschema import Draft202012Validator

from agents.registry import default_registry
from deployments.catalogue import write_catalogue
from deployments.settings import Settings, load_settings
from deployments.wiring import owner_url
from domain.catalog import AgentType
from persistence.agent_types import write_agent_types
from tests.api.conftest import Api


def settings_of(database_url) -> Settings:
    url = database_url.render_as_string(hide_password=False)
    return load_settings({"TENANTRY_DATABASE_URL": url})


def test_every_agent_type_has_a_schema_that_its_example_fits(admin: httpx.Client, database_url):
    write_catalogue(settings_of(database_url))
    items = admin.get("/agent-types").json()["items"]
    assert [item["type"] for item in items] == list(default_registry().types())
    for item in items:
        assert item["description"]
        Draft202012Validator.check_schema(item["config_schema"])
        Draft202012Validator(item["config_schema"]).validate(item["example"])
        assert admin.get(f"/agent-types/{item['type']}").json() == item


def test_an_unknown_agent_type_is_not_found(admin: httpx.Client):
    answer = admin.get("/agent-types/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "agent_type.not_found")


def test_writing_the_catalogue_removes_what_is_gone(admin: httpx.Client, database_url):
    settings = settings_of(database_url)
    old = AgentType(type="old", description="Gone.", config_schema={}, example={})
    write_agent_types(owner_url(settings), [old])
    assert [item["type"] for item in admin.get("/agent-types").json()["items"]] == ["old"]
    write_catalogue(settings)
    write_catalogue(settings)
    found = [item["type"] for item in admin.get("/agent-types").json()["items"]]
    assert found == list(default_registry().types())


def test_without_a_catalogue_a_workflow_says_what_the_operator_must_do(api: Api):
    document = {"name": "x", "agents": [{"name": "a", "type": "lead_request"}]}
    with api.client() as client:
        found = client.post("/workflows/validate", json=document).json()["problems"]
    assert "tenantry migrate" in found[0]["hint"]
