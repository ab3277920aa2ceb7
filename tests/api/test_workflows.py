"""Workflows over HTTP: made, checked, changed by versions, kept as drafts, archived."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from agents.registry import default_registry
from deployments.agent_checks import agent_check
from deployments.catalogue import write_catalogue
from deployments.examples import ENTERPRISE_LEAD_SEARCH, TEST_SALES_INTELLIGENCE, read_example
from deployments.settings import load_settings
from domain.definition_text import parse_definition
from domain.permissions import Role
from domain.workflow_checks import find_problems
from persistence.publishing import list_due
from persistence.workflows import (
    WorkflowNotRunnable,
    check_runnable,
    get_workflow,
)
from tests.api.conftest import Api
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import queue

YAML = {"Content-Type": "application/yaml"}


@pytest.fixture(autouse=True)
def catalogue(database_url) -> None:
    url = database_url.render_as_string(hide_password=False)
    write_catalogue(load_settings({"TENANTRY_DATABASE_URL": url}))


@pytest.fixture
def editor(api: Api) -> Iterator[httpx.Client]:
    with api.client(Role.EDITOR) as client:
        yield client


def search(name: str = "Search", **changes: object) -> dict[str, Any]:
    return {
        "name": name,
        "agents": [
            {"name": "Analyst", "type": "lead_request"},
            {
                "name": "Qualifier",
                "type": "sales_intelligence",
                "config": {"connector": "crm", "object_type": "companies"},
            },
        ],
        "edges": [{"from": "Analyst", "to": "Qualifier"}],
        **changes,
    }


def broken(name: str = "Search") -> dict[str, Any]:
    document = search(name)
    document["agents"][1]["config"] = {}
    return document


def make(client: httpx.Client, document: dict[str, Any], **query: str) -> dict[str, Any]:
    return client.post("/workflows", json=document, params=query).raise_for_status().json()


def put(client: httpx.Client, ref: str, document: dict[str, Any], tag: str | None, **query: str):
    headers = {} if tag is None else {"If-Match": tag}
    return client.put(f"/workflows/{ref}", json=document, params=query, headers=headers)


def test_a_workflow_is_made_and_found_by_id_and_slug(editor: httpx.Client):
    answer = editor.post("/workflows", json=search("Lead search"))
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert answer.headers["location"].endswith(made["id"])
    found = [editor.get(f"/workflows/{ref}").json() for ref in (made["id"], "lead-search")]
    assert found == [made, made]
    assert (made["is_runnable"], made["execution_count"], made["success_rate"]) == (True, 0, None)


def test_yaml_comes_in_and_goes_out_and_can_be_given_back(editor: httpx.Client):
    body = read_example(ENTERPRISE_LEAD_SEARCH)
    made = editor.post("/workflows", content=body, headers=YAML).raise_for_status().json()
    shown = editor.get(f"/workflows/{made['id']}", headers={"Accept": "application/yaml"})
    assert shown.headers["content-type"].startswith("application/yaml")
    assert parse_definition(shown.text) == made["definition"]
    tagged = {**YAML, "If-Match": shown.headers["etag"]}
    again = editor.put(f"/workflows/{made['id']}", content=shown.content, headers=tagged)
    assert again.json()["version"] == 1


def test_all_problems_are_told_at_once_and_nothing_is_written(editor: httpx.Client):
    document = search(edges=[{"from": "Analyst", "to": "Nobody"}], colour="red")
    document["agents"][1]["config"] = {"connector": "crm", "max_leads": 0}
    document["agents"].append({"name": "Third", "type": "lead_raport"})
    answer = editor.post("/workflows", json=document)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "workflow.invalid"
    found = {(each["code"], each["pointer"]) for each in problem["problems"]}
    assert found >= {
        ("field.unknown", "/colour"),
        ("field.missing", "/agents/1/config/object_type"),
        ("agent.config_invalid", "/agents/1/config/max_leads"),
        ("agent.type_unknown", "/agents/2/type"),
        ("graph.edge_dangling", "/edges/0/to"),
    }
    assert all(each["hint"] and each["message"] for each in problem["problems"])
    assert editor.get("/workflows").json()["items"] == []


def test_the_schemas_find_what_the_agents_themselves_find(editor: httpx.Client, subtests):
    for name in (ENTERPRISE_LEAD_SEARCH, TEST_SALES_INTELLIGENCE):
        body = read_example(name)
        answer = editor.post("/workflows/validate", content=body, headers=YAML).json()
        _, own = find_problems(parse_definition(body), agent_check(default_registry()))
        with subtests.test(name=name):
            assert [(each["code"], each["pointer"]) for each in answer["problems"]] == [
                (each.code.value, each.pointer) for each in own
            ]
            assert answer["valid"] is not bool(own)


ODD_CONFIGS: list[dict[str, Any]] = [
    {"connector": "", "object_type": "a b", "fields": {"nam": "x", "name": 5}},
    {"connector": 7, "object_typ": "x", "weights": {"place": -1}, "only_active": "maybe"},
    {"connector": "crm", "object_type": "companies\n", "max_leads": 10_001},
    {"connector": None, "object_type": ["a"], "weights": [], "fields": None},
]


def test_odd_configs_are_refused_at_the_places_that_the_agents_refuse(
    editor: httpx.Client, subtests
):
    for config in ODD_CONFIGS:
        document = search()
        document["agents"][1]["config"] = config
        answer = editor.post("/workflows/validate", json=document).json()
        _, own = find_problems(document, agent_check(default_registry()))
        with subtests.test(config=config):
            assert {(each["code"], each["pointer"]) for each in answer["problems"]} == {
                (each.code.value, each.pointer) for each in own
            }


def test_what_cannot_be_read_is_told_by_validate_and_refused_by_create(
    editor: httpx.Client, subtests
):
    for body in ("", "[]", "name: [", "a: &x b", "\x00", "{", "null", '"text"', b"\xff"):
        with subtests.test(body=body):
            told = editor.post("/workflows/validate", content=body, headers=YAML)
            assert (told.status_code, told.json()["valid"]) == (200, False)
            refused = editor.post("/workflows", content=body, headers=YAML)
            assert refused.status_code == 422
            assert refused.json()["problems"]


def test_validate_needs_a_body_if_only_an_empty_one(editor: httpx.Client):
    answer = editor.post("/workflows/validate")
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert answer.json()["problems"][0]["code"] == "field.missing"


def test_json_that_is_no_object_is_not_read_as_yaml(editor: httpx.Client, subtests):
    headers = {"Content-Type": "application/json"}
    for body in ("name: x", "[1]", "null", "", "{'name': 'x'"):
        with subtests.test(body=body):
            told = editor.post("/workflows/validate", content=body, headers=headers).json()
            assert (told["valid"], len(told["problems"])) == (False, 1)
            refused = editor.post("/workflows", content=body, headers=headers)
            assert refused.status_code == 422


def test_other_media_types_are_refused(editor: httpx.Client):
    answer = editor.post("/workflows", content="a,b", headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type.unsupported")


def test_a_body_beyond_the_limit_is_refused(editor: httpx.Client):
    answer = editor.post("/workflows", content=b"x" * (1024 * 1024 + 1), headers=YAML)
    assert (answer.status_code, answer.json()["code"]) == (413, "request.too_large")


def test_a_second_workflow_of_one_name_is_refused(editor: httpx.Client):
    make(editor, search())
    answer = editor.post("/workflows", json=search())
    assert (answer.status_code, answer.json()["code"]) == (409, "workflow.name_taken")


def test_names_that_become_one_slug_are_two_workflows(editor: httpx.Client):
    first, second = make(editor, search("Search for C")), make(editor, search("Search for C++"))
    assert [first["slug"], second["slug"]] == ["search-for-c", "search-for-c-2"]
    assert editor.get("/workflows/search-for-c").json()["name"] == "Search for C"
    for name in ("Search for C", "search for c++"):
        again = editor.post("/workflows", json=search(name))
        assert (again.status_code, again.json()["code"]) == (409, "workflow.name_taken")
        assert name.casefold() in again.json()["detail"].casefold()
    # Nor does a version take the other's name, though both became one slug.
    answer = put(editor, first["id"], search("Search for C++"), '"1"')
    assert [each["pointer"] for each in answer.json()["problems"]] == ["/name"]
    assert put(editor, second["id"], search("Search for C++", description="x"), '"1"').is_success


def test_a_change_must_name_the_version_that_it_was_made_from(editor: httpx.Client):
    made = make(editor, search())
    second = search(description="Better.")
    without = put(editor, made["id"], second, None)
    assert (without.status_code, without.json()["code"]) == (428, "precondition.missing")
    stale = put(editor, made["id"], second, '"7"')
    assert (stale.status_code, stale.json()["code"]) == (412, "workflow.changed")
    assert editor.get("/workflows/search").json()["version"] == 1
    changed = put(editor, made["id"], second, '"1"')
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    lost = put(editor, made["id"], search(description="Mine."), '"1"')
    assert lost.status_code == 412
    wrong = put(editor, made["id"], broken(), '"1"')
    assert (wrong.status_code, wrong.json()["code"]) == (422, "workflow.invalid")
    assert editor.get("/workflows/search").json()["description"] == "Better."


def test_a_change_to_any_version_is_made_with_a_star(editor: httpx.Client):
    make(editor, search())
    assert put(editor, "search", search(description="x"), "*").json()["version"] == 2


def test_a_new_version_cannot_rename_the_workflow(editor: httpx.Client):
    make(editor, search())
    answer = put(editor, "search", search("Other"), '"1"')
    assert [each["pointer"] for each in answer.json()["problems"]] == ["/name"]


def test_versions_are_listed_newest_first_by_page_and_kept(editor: httpx.Client):
    make(editor, search(description="0"))
    for number in range(1, 4):
        put(editor, "search", search(description=str(number)), f'"{number}"').raise_for_status()
    first = editor.get("/workflows/search/versions", params={"limit": 3}).json()
    assert [each["version"] for each in first["items"]] == [4, 3, 2]
    assert first["items"][0]["created_by"] == "user_editor"
    rest = editor.get("/workflows/search/versions", params={"before": first["next_before"]}).json()
    assert ([each["version"] for each in rest["items"]], rest["next_before"]) == ([1], None)
    old = editor.get("/workflows/search/versions/1").json()
    assert old["definition"]["description"] == "0"
    assert editor.get("/workflows/search/versions/9").status_code == 404


def test_a_draft_lists_its_problems_and_cannot_run(api: Api, editor: httpx.Client):
    made = make(editor, broken(), draft="true")
    assert {each["pointer"] for each in made["problems"]} == {
        "/agents/1/config/connector",
        "/agents/1/config/object_type",
    }
    assert (made["is_draft"], made["is_runnable"]) == (True, False)
    with api.database.org(ACME) as session, pytest.raises(WorkflowNotRunnable):
        check_runnable(session, get_workflow(session, made["id"]))
    with api.database.for_platform() as session:
        assert list_due(session, most=10) == []


def test_a_draft_beside_a_good_version_leaves_that_one_in_service(api: Api, editor: httpx.Client):
    make(editor, search())
    drafted = put(editor, "search", broken(), '"1"', draft="true").json()
    assert (drafted["version"], drafted["newest_version"], drafted["is_draft"]) == (1, 2, True)
    assert drafted["is_runnable"] is True
    with api.database.org(ACME) as session:
        workflow = get_workflow(session, "search")
        assert check_runnable(session, workflow) == 1
        with pytest.raises(WorkflowNotRunnable):
            check_runnable(session, workflow, version=2)
    mended = put(editor, "search", search(description="Mended."), '"2"').json()
    assert (mended["version"], mended["is_draft"], mended["problems"]) == (3, False, [])


def test_a_draft_without_a_name_cannot_be_saved(editor: httpx.Client):
    answer = editor.post("/workflows", json={"agents": []}, params={"draft": "true"})
    assert answer.status_code == 422
    assert "field.missing" in {each["code"] for each in answer.json()["problems"]}


def test_lists_are_paged_in_both_orders_without_gaps(editor: httpx.Client):
    names = ["delta", "alpha", "Charlie", "bravo", "echo"]
    ids = {name: make(editor, search(name))["id"] for name in names}
    for sort, expected in (("id", sorted(names, key=ids.__getitem__)), ("name", None)):
        found: list[str] = []
        cursor: str | None = None
        while cursor is not None or not found:
            query = {"sort": sort, "limit": 2, **({"cursor": cursor} if cursor else {})}
            page = editor.get("/workflows", params=query).raise_for_status().json()
            found += [each["name"] for each in page["items"]]
            cursor = page["next_cursor"]
        assert sorted(found) == sorted(names)
        assert expected is None or found == expected
    whole = editor.get("/workflows").json()["items"]
    assert found == [each["name"] for each in whole]


def test_a_strange_cursor_is_refused(editor: httpx.Client, subtests):
    for cursor in ("x", "é", "e30", "W10"):
        answer = editor.get("/workflows", params={"cursor": cursor})
        with subtests.test(cursor=cursor):
            assert (answer.status_code, answer.json()["code"]) == (422, "cursor.invalid")


def test_an_archived_workflow_leaves_the_list_and_comes_back(api: Api, editor: httpx.Client):
    make(editor, search())
    first = editor.post("/workflows/search/archive").json()
    assert first["archived_at"]
    assert editor.post("/workflows/search/archive").json() == first
    assert editor.get("/workflows").json()["items"] == []
    archived = editor.get("/workflows", params={"archived": "true"}).json()["items"]
    assert [each["slug"] for each in archived] == ["search"]
    changed = put(editor, "search", search(description="x"), '"1"')
    assert (changed.status_code, changed.json()["code"]) == (409, "workflow.archived")
    with api.database.org(ACME) as session, pytest.raises(WorkflowNotRunnable):
        check_runnable(session, get_workflow(session, "search"))
    assert editor.post("/workflows/search/restore").json()["is_runnable"] is True


def test_statistics_count_what_ended_and_what_waits(api: Api, editor: httpx.Client):
    make(editor, search())
    with api.database.org(ACME) as session:
        workflow = get_workflow(session, "search")
    queue(api.database, ACME, workflow)
    found = editor.get("/workflows/search/statistics").json()
    assert (found["execution_count"], found["pending_count"]) == (0, 1)
    assert found["recent"] == {
        "count": 0,
        "duration_p50_s": None,
        "duration_p95_s": None,
        "tokens_used": 0,
        "cost_usd": "0.00000000",
    }


def test_another_organizations_workflow_does_not_exist(api: Api, editor: httpx.Client):
    with api.client(org_id=GLOBEX) as other:
        theirs = make(other, search("Secret plan"))
    ref = theirs["id"]
    answers = [
        editor.get(f"/workflows/{ref}"),
        editor.get("/workflows/secret-plan"),
        editor.get(f"/workflows/{ref}/versions"),
        editor.get(f"/workflows/{ref}/versions/1"),
        editor.get(f"/workflows/{ref}/statistics"),
        put(editor, ref, search("Secret plan"), "*"),
        editor.post(f"/workflows/{ref}/archive"),
        editor.post(f"/workflows/{ref}/restore"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert "Secret plan" not in "".join(answer.text for answer in answers)
    assert editor.get("/workflows").json()["items"] == []


def test_a_viewer_reads_and_validates_but_writes_nothing(api: Api, editor: httpx.Client):
    make(editor, search())
    with api.client(Role.VIEWER) as viewer:
        assert viewer.get("/workflows/search").status_code == 200
        assert viewer.post("/workflows/validate", json=search()).json()["valid"] is True
        refused = [
            viewer.post("/workflows", json=search("Other")),
            put(viewer, "search", search(), "*"),
            viewer.post("/workflows/search/archive"),
            viewer.post("/workflows/search/restore"),
        ]
    assert [answer.status_code for answer in refused] == [403] * 4


def test_every_write_is_audited(api: Api, editor: httpx.Client):
    made = make(editor, search())
    put(editor, "search", search(description="x"), '"1"').raise_for_status()
    editor.post("/workflows/search/archive").raise_for_status()
    editor.post("/workflows/search/restore").raise_for_status()
    query = text("select action, user_id from audit_logs where resource_id = :id order by seq")
    with api.database.org(ACME) as session:
        rows = session.execute(query, {"id": made["id"]}).all()
    assert [tuple(row) for row in rows] == [
        (f"workflow.{act}", "user_editor")
        for act in ("created", "versioned", "archived", "restored")
    ]
