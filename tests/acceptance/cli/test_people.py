"""Users, tokens and the API on the command line, in an installation that is up."""

import httpx
import pytest

from tests.acceptance.cli.conftest import SEARCH, Tenantry, Up

pytestmark = pytest.mark.processes


def ask(up: Up, path: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{up.addresses['api']}{path}", headers=headers, timeout=30)


def test_up_serves_the_api_with_a_token_of_the_command_line(up: Up, search: str):
    made = up.tenantry.ask("tokens", "create", "--name", "laptop")
    assert ask(up, f"/workflows/{search}", made["secret"]).json()["slug"] == search
    assert ask(up, f"/workflows/{search}", "tnt_wrong").status_code == 401


def test_a_token_has_the_scopes_that_were_asked_for(up: Up):
    made = up.tenantry.ask(
        *("tokens", "create", "--name", "reader", "--days", "1"),
        *("--scope", "workflows.read", "--scope", "agent_types.read"),
    )
    assert made["scopes"] == ["agent_types.read", "workflows.read"]
    assert ask(up, "/workflows", made["secret"]).status_code == 200
    assert ask(up, "/members", made["secret"]).status_code == 403


def test_an_unknown_scope_is_refused_with_the_likely_one(tenantry: Tenantry):
    answer = tenantry("tokens", "create", "--name", "x", "--scope", "workflow.read", "--json")
    assert (answer.code, answer.error["code"]) == (2, "command.invalid")
    assert "workflows.read" in answer.error["hint"]


def test_a_revoked_token_lets_nobody_in(up: Up):
    made = up.tenantry.ask("tokens", "create", "--name", "short")
    revoked = up.tenantry.ask("tokens", "revoke", made["id"])
    assert revoked["revoked_at"]
    assert ask(up, "/workflows", made["secret"]).status_code == 401


def test_a_secret_is_shown_once_and_never_listed(tenantry: Tenantry):
    made = tenantry("tokens", "create", "--name", "once")
    secret = next(line for line in made.out.splitlines() if line.startswith("tnt_"))
    assert secret not in tenantry("tokens", "list").out
    assert secret not in tenantry("tokens", "list", "--json").out


def test_a_user_is_added_changed_and_listed(up: Up):
    tenantry = up.tenantry
    added = tenantry.ask("users", "add", "user_anna", "--role", "viewer", "--name", "Anna")
    changed = tenantry.ask("users", "add", "user_anna", "--role", "editor")
    assert (added["created"], changed["created"], changed["role"]) == (True, False, "editor")
    listed = {each["id"]: each for each in tenantry.ask("users", "list")["users"]}
    assert listed["user_anna"]["name"] == "Anna"
    token = tenantry.ask("tokens", "create", "--name", "hers", "--user", "user_anna")["secret"]
    assert ask(up, "/workflows", token).status_code == 200
    assert ask(up, "/members", token).status_code == 403


def test_a_platform_administrator_lists_all_organizations(up: Up):
    tenantry = up.tenantry
    tenantry.ask("users", "add", "user_root", "--role", "admin", "--platform-admin")
    token = tenantry.ask("tokens", "create", "--name", "root", "--user", "user_root")["secret"]
    assert "org_demo" in ask(up, "/organizations", token).text
    tenantry.ask("users", "add", "user_root", "--role", "admin", "--no-platform-admin")
    assert ask(up, "/organizations", token).status_code == 403


def test_the_last_administrator_stays_one(tenantry: Tenantry):
    tenantry.ask("orgs", "create", "org_lonely", "--name", "Lonely")
    command = ("users", "add", "user_admin", "--role", "viewer", "--org", "org_lonely", "--json")
    answer = tenantry(*command)
    assert (answer.code, answer.error["code"]) == (2, "member.last_admin")


def test_a_token_for_nobody_is_refused(tenantry: Tenantry):
    answer = tenantry("tokens", "create", "--name", "x", "--user", "user_nobody", "--json")
    assert (answer.code, answer.error["code"]) == (2, "member.not_found")


def test_a_definition_of_the_command_line_is_valid_for_the_api(up: Up):
    token = up.tenantry.ask("tokens", "create", "--name", "validate")["secret"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/yaml"}
    answer = httpx.post(
        f"{up.addresses['api']}/workflows/validate", content=SEARCH, headers=headers, timeout=30
    )
    assert answer.json() == {"valid": True, "problems": [], "warnings": []}


def test_an_archived_workflow_is_neither_run_nor_scheduled(up: Up):
    definition = SEARCH.replace("Lead search", "Put away")
    up.tenantry.ask("workflows", "create", "-f", "-", given=definition)
    token = up.tenantry.ask("tokens", "create", "--name", "archive")["secret"]
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{up.addresses['api']}/workflows/put-away/archive"
    httpx.post(url, headers=headers, timeout=30).raise_for_status()
    answers = [
        up.tenantry("run", "put-away", "--no-wait", "--json"),
        up.tenantry("schedules", "add", "put-away", "--cron", "0 9 * * *", "--json"),
    ]
    codes = [(answer.code, answer.error["code"]) for answer in answers]
    assert codes == [(2, "workflow.not_runnable")] * 2
