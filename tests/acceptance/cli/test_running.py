"""Running workflows from the command line."""

from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import SEARCH, Tenantry, Up

pytestmark = pytest.mark.processes


def test_up_says_where_everything_is(up: Up):
    assert up.addresses["home"] == str(up.tenantry.home)
    assert Path(up.addresses["logs"]).is_dir()
    assert up.addresses["prefect_ui"].startswith("http://127.0.0.1:")
    assert up.addresses["database"].startswith("127.0.0.1:")


def test_a_run_waits_for_the_leads(tenantry: Tenantry, search: str):
    text = "Find enterprise software in San Francisco with 100+ employees"
    answer = tenantry("run", search, "--input", text, "--json")
    assert answer.code == 0
    execution = answer.document
    assert execution["status"] == "COMPLETED"
    assert [lead["name"] for lead in execution["output"]["records"]] == ["Acme"]
    assert execution["agent_results"].keys() == {"Analyst", "Qualifier", "Report"}
    assert execution["prefect_flow_run_id"] in execution["prefect_url"]


def test_without_an_input_the_default_one_is_used(tenantry: Tenantry, search: str):
    execution = tenantry.ask("run", search)
    assert execution["input_data"] == {"text": "Find companies in Berlin"}
    assert [lead["name"] for lead in execution["output"]["records"]] == ["Globex"]


def test_people_see_status_summary_leads_and_each_agent_as_it_finishes(
    tenantry: Tenantry, search: str
):
    answer = tenantry("run", search, "--watch")
    assert answer.code == 0
    assert "COMPLETED" in answer.out
    assert "1 lead found" in answer.out
    assert "Globex" in answer.out
    assert "Qualifier: COMPLETED" in answer.err
    assert "No input is given: this is the workflow's default, `" in answer.err


def define_without_file(tenantry: Tenantry, name: str) -> None:
    """Create a workflow that fails when it runs: its connector is there, the file is not."""
    connector = "kind: file\nfiles: {companies: missing.csv}"
    tenantry.ask("connectors", "set", "files", "-f", "-", given=connector)
    definition = SEARCH.replace("crm", "files").replace("Lead search", name)
    tenantry.ask("workflows", "create", "-f", "-", given=definition)


def test_a_failed_execution_exits_with_one_and_says_why(tenantry: Tenantry):
    define_without_file(tenantry, "No data")
    answer = tenantry("run", "no-data", "--json")
    assert answer.code == 1
    execution = answer.document
    assert execution["status"] == "FAILED"
    assert execution["error_code"] == "data.not_found"
    assert execution["error_hint"]


def test_a_failed_execution_tells_people_code_and_hint(tenantry: Tenantry):
    define_without_file(tenantry, "No file")
    answer = tenantry("run", "no-file")
    assert answer.code == 1
    assert "data.not_found" in answer.out
    assert "→" in answer.out


def test_what_reads_from_a_connector_that_is_not_there_is_not_run(tenantry: Tenantry):
    definition = SEARCH.replace("crm", "nowhere").replace("Lead search", "No connector")
    tenantry.ask("workflows", "create", "-f", "-", given=definition)
    shown = tenantry.ask("workflows", "show", "no-connector")
    assert [each["code"] for each in shown["problems"]] == ["connector.not_found"]
    answer = tenantry("run", "no-connector", "--json")
    assert (answer.code, answer.error["code"]) == (2, "workflow.not_runnable")


def test_an_idempotency_key_starts_one_execution_only(tenantry: Tenantry, search: str):
    command = ("run", search, "--no-wait", "--idempotency-key", "order-1")
    assert tenantry.ask(*command)["id"] == tenantry.ask(*command)["id"]
    other = tenantry(*command, "--input", "Find companies in Ohio", "--json")
    assert (other.code, other.error["code"]) == (2, "execution.idempotency_conflict")


def test_an_input_file_may_be_json_or_text(tenantry: Tenantry, search: str):
    given = '{"text": "Find companies in Berlin", "ticket": 7}'
    from_json = tenantry.ask("run", search, "--no-wait", "--input-file", "-", given=given)
    from_text = tenantry.ask("run", search, "--no-wait", "--input-file", "-", given="Berlin\n")
    assert from_json["input_data"]["ticket"] == 7
    assert from_text["input_data"] == {"text": "Berlin"}


def test_executions_are_listed_newest_first_page_by_page(tenantry: Tenantry, search: str):
    ids = [tenantry.ask("run", search, "--no-wait")["id"] for _ in range(3)][::-1]
    first = tenantry.ask("executions", "list", "--limit", "2", "--workflow", search)
    rest = tenantry.ask("executions", "list", "--limit", "1", "--before", first["next_before"])
    assert [each["id"] for each in first["executions"] + rest["executions"]] == ids


def test_an_execution_is_shown_whole(tenantry: Tenantry, search: str):
    execution_id = tenantry.ask("run", search)["id"]
    shown = tenantry("executions", "show", execution_id)
    assert shown.code == 0
    for part in (
        execution_id,
        "Find companies in Berlin",
        "sales_intelligence",
        "Analyst → Qualifier → Report",
        "Globex",
        "/runs/flow-run/",
    ):
        assert part in shown.out


def test_executions_are_listed_by_status(tenantry: Tenantry, search: str):
    tenantry.ask("run", search)
    found = tenantry.ask("executions", "list", "--status", "completed", "--limit", "500")
    assert {each["status"] for each in found["executions"]} == {"COMPLETED"}


def test_statistics_count_what_has_ended(tenantry: Tenantry):
    definition = SEARCH.replace("Lead search", "Counted")
    tenantry.ask("workflows", "create", "-f", "-", given=definition)
    tenantry.ask("run", "counted")
    counted = tenantry.ask("workflows", "show", "counted")["workflow"]
    assert (counted["execution_count"], counted["success_count"]) == (1, 1)


def test_executions_are_cancelled_and_cancelling_again_is_no_error(tenantry: Tenantry, search: str):
    assert tenantry.ask("pause", "--reason", "upgrade")["paused"]
    ids = [tenantry.ask("run", search, "--no-wait")["id"] for _ in range(2)]
    told = tenantry.ask("executions", "explain", ids[0])["blockers"]
    assert told[0]["kind"] == "installation_paused"
    first = tenantry.ask("executions", "cancel", *ids)["executions"]
    assert [(each["id"], each["status"]) for each in first] == [(id, "CANCELLED") for id in ids]
    again = tenantry.ask("executions", "cancel", *ids)["executions"]
    assert [each["was_cancelled"] for each in again] == [True, True]
    assert tenantry.ask("resume") == {"paused": False, "pauses": []}
