"""Workflows, schedules, connectors, organizations and the audit trail on the command line."""

import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from deployments.embedded.stack import open_stack
from deployments.settings import load_settings
from tests.acceptance.cli.conftest import SEARCH, Tenantry
from tests.support.databases import cluster_of

pytestmark = pytest.mark.processes


def test_a_definition_of_a_known_name_becomes_its_next_version(tenantry: Tenantry):
    first = SEARCH.replace("Lead search", "Versions")
    second = first.replace("Finds leads", "Finds better leads")
    results = [
        tenantry.ask("workflows", "create", "-f", "-", given=definition)
        for definition in (first, first, second)
    ]
    assert [(each["result"], each["workflow"]["version"]) for each in results] == [
        ("created", 1),
        ("unchanged", 1),
        ("versioned", 2),
    ]


def test_a_shown_definition_can_be_given_back(tenantry: Tenantry, search: str):
    shown = tenantry("workflows", "show", search).out
    definition = shown[shown.index("\nname: ") :]
    assert yaml.safe_load(definition)["agents"][1]["config"]["connector"] == "crm"
    again = tenantry.ask("workflows", "create", "-f", "-", given=definition)
    assert again["result"] == "unchanged"


def test_a_missing_connector_is_told_when_the_workflow_is_created(tenantry: Tenantry):
    definition = SEARCH.replace("Lead search", "Early").replace("crm", "later")
    created = tenantry.ask("workflows", "create", "-f", "-", given=definition)
    assert created["missing_connectors"] == ["later"]


def test_a_schedule_comes_and_goes(tenantry: Tenantry, search: str):
    added = tenantry.ask(
        *("schedules", "add", search, "--cron", "0 9 * * MON-FRI"),
        *("--timezone", "Europe/Berlin"),
    )["schedule"]
    assert added["input_data"] == {"text": "Find companies in Berlin"}
    assert len(added["next_times"]) == 3
    listed = tenantry.ask("schedules", "list", "--workflow", search)["schedules"]
    assert [each["id"] for each in listed] == [added["id"]]
    paused = tenantry.ask("schedules", "pause", added["id"])["schedule"]
    assert (paused["next_times"], bool(paused["paused_at"])) == ([], True)
    resumed = tenantry.ask("schedules", "resume", added["id"])["schedule"]
    assert (len(resumed["next_times"]), resumed["paused_at"]) == (3, None)
    tenantry.ask("schedules", "remove", added["id"])
    assert tenantry.ask("schedules", "list", "--workflow", search)["schedules"] == []


def test_a_schedule_without_any_input_is_refused(tenantry: Tenantry):
    definition = SEARCH.replace("Lead search", "Bare").replace("default_input", "#")
    tenantry.ask("workflows", "create", "-f", "-", given=definition)
    answer = tenantry("schedules", "add", "bare", "--cron", "0 9 * * *", "--json")
    assert (answer.code, answer.error["code"]) == (2, "execution.input_missing")


def test_no_password_of_a_connector_is_ever_shown(tenantry: Tenantry):
    definition = "kind: sql\nurl: postgresql://reader:hunter2@db.internal/crm?sslmode=require"
    said = [
        tenantry("connectors", "set", "secretive", "-f", "-", given=definition),
        tenantry("connectors", "set", "secretive", "-f", "-", "--json", given=definition),
        tenantry("connectors", "list"),
        tenantry("connectors", "list", "--json"),
    ]
    assert [answer.code for answer in said] == [0, 0, 0, 0]
    assert "hunter2" not in "".join(answer.out + answer.err for answer in said)
    assert "db.internal" in said[-1].out


def test_another_organization_sees_nothing_of_the_first(tenantry: Tenantry, search: str):
    assert tenantry.ask("orgs", "create", "org_other", "--name", "Other")["created"]
    assert tenantry.ask("workflows", "list", "--org", "org_other") == {"workflows": []}
    answer = tenantry("run", search, "--input", "x", "--org", "org_other", "--json")
    assert (answer.code, answer.error["code"]) == (2, "workflow.not_found")


def test_the_audit_trail_names_who_did_what(tenantry: Tenantry):
    definition = SEARCH.replace("Lead search", "Watched")
    created = tenantry.ask("workflows", "create", "-f", "-", "--user", "user_eva", given=definition)
    entries = tenantry.ask("audit", "list", "--resource", created["workflow"]["id"])["entries"]
    assert [(each["action"], each["user_id"]) for each in entries] == [
        ("workflow.created", "user_eva")
    ]


def test_an_untouched_audit_trail_verifies(tenantry: Tenantry, search: str):
    assert tenantry("workflows", "show", search).code == 0
    verified = tenantry.ask("audit", "verify")
    assert verified["ok"]
    assert verified["checked"] == verified["head"]["seq"] > 0


def test_a_changed_audit_trail_exits_with_one_and_names_the_entry(tenantry: Tenantry):
    tenantry.ask("orgs", "create", "org_tampered", "--name", "Tampered")
    for name in ("One", "Two", "Three"):
        definition = SEARCH.replace("Lead search", name)
        tenantry.ask("workflows", "create", "-f", "-", "--org", "org_tampered", given=definition)
    settings = load_settings({"TENANTRY_HOME": str(tenantry.home)})
    with open_stack(settings, ("postgres",)) as stack:
        cluster = cluster_of(stack.superuser_url, stack.database_url)
        engine = create_engine(cluster.as_superuser(cluster.owner), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            changed = connection.execute(
                text("update audit_logs set user_id = 'user_eve' where org_id = :org and seq = 2"),
                {"org": "org_tampered"},
            )
            assert changed.rowcount == 1
    answer = tenantry("audit", "verify", "--org", "org_tampered", "--json")
    assert answer.code == 1
    assert answer.document["first_bad"]["seq"] == 2
    assert answer.document["first_bad"]["id"].startswith("audit_")


def test_limits_are_set_shown_and_taken_away(tenantry: Tenantry, search: str):
    set_ = tenantry.ask("limits", "set", "--max-running", "40", "--weight", "2.5", "--pause")
    assert set_ == {
        "organization": "org_demo",
        "weight": 2.5,
        "max_running": 40,
        "max_queued": None,
        "is_paused": True,
    }
    cleared = tenantry.ask("limits", "set", "--clear", "max-running", "--weight", "1", "--resume")
    assert (cleared["max_running"], cleared["is_paused"]) == (None, False)
    own = tenantry.ask("limits", "set", "--workflow", search, "--max-batch", "1")
    assert own == tenantry.ask("limits", "show", "--workflow", search)
    assert own["max_batch"] == 1
    assert tenantry("limits", "set", "--workflow", search, "--max-queued", "1").code == 2
    assert tenantry("limits", "set").code == 2
