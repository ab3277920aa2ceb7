"""`tenantry demo` keeps its promises, on a fresh home and on a used one, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.homes import temporary_home
from tests.support.services import wait_for

TENANTRY = Path(sys.executable).with_name("tenantry")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="module")
def first(home: Path) -> dict[str, Any]:
    return tenantry(home, "demo", "--json")


def environ(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TENANTRY_", "PREFECT_"))}
    return {**kept, "TENANTRY_HOME": str(home)}


def tenantry(home: Path, *arguments: str) -> dict[str, Any]:
    """Run the real command; return the JSON that it printed."""
    done = subprocess.run(
        [TENANTRY, *arguments], env=environ(home), capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout)


def processes_of(home: Path) -> list[str]:
    """List the processes that work in a home, by command line and environment."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            about = command + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in about:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.timeout(200)
def test_the_leads_are_those_that_the_request_asks_for(first):
    names = {lead["name"] for lead in first["leads"]}
    assert {"Salesforce", "Autodesk"} <= names
    assert not {"Wells Fargo", "Prologis", "Williams-Sonoma"} & names
    assert all(lead["score"] and lead["tier"] and lead["reasons"] for lead in first["leads"])


def test_the_execution_is_recorded_whole(first):
    execution = first["execution"]
    assert execution["status"] == "COMPLETED"
    assert execution["trigger"] == "cli"
    times = [datetime.fromisoformat(execution[f"{at}_at"]) for at in ("created", "started")]
    times.append(datetime.fromisoformat(execution["completed_at"]))
    assert times == sorted(times)
    assert all(at.utcoffset().total_seconds() == 0 for at in times)
    assert execution["duration_seconds"] > 0
    assert set(execution["agent_results"]) == {"Request Analyst", "Sales Qualifier", "Lead Report"}
    assert [n["status"] for n in execution["execution_graph"]["nodes"]] == ["COMPLETED"] * 3
    assert execution["output"]["records"] == first["leads"]


def test_the_statistics_and_the_audit_trail_fit(first):
    statistics = first["statistics"]
    assert (
        statistics["execution_count"],
        statistics["success_count"],
        statistics["failure_count"],
    ) == (1, 1, 0)
    assert [row["action"] for row in first["audit"]] == [
        "execution.created",
        "execution.started",
        "workflow.executed",
    ]
    assert all(row["success"] and row["user_id"] == "user_admin" for row in first["audit"])
    assert first["audit_verified"] is True


def test_the_workflow_with_mistakes_is_refused_with_both_at_once(first):
    problems = first["refused"]["problems"]
    assert [p["pointer"] for p in problems] == [
        "/agents/1/config/connector",
        "/agents/1/config/object_type",
    ]
    assert all(p["code"] and p["message"] and p["hint"] for p in problems)


def test_the_workflow_with_the_missing_table_fails_in_plain_words(first):
    failed = first["failed"]
    execution = failed["execution"]
    assert execution["status"] == "FAILED"
    assert execution["error_code"] == "data.not_found"
    assert execution["error_hint"]
    assert failed["statistics"]["execution_count"] == failed["statistics"]["failure_count"] == 1
    last = failed["audit"][-1]
    assert (last["action"], last["success"]) == ("workflow.executed", False)
    assert last["error_message"] == execution["error"]


@pytest.mark.timeout(60)
def test_the_record_survives_a_restart_of_everything(first, home):
    assert processes_of(home) == []
    again = tenantry(home, "executions", "show", first["execution"]["id"], "--json")
    for name in set(first["execution"]) - {"prefect_url"}:
        assert again[name] == first["execution"][name], name


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_after_a_killed_demo_the_next_one_works_and_leaves_no_process(first, home):
    killed = subprocess.Popen(
        [TENANTRY, "demo", "--json"],
        env=environ(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for("its worker", lambda: any("deployments.worker" in p for p in processes_of(home)))
    time.sleep(1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    second = tenantry(home, "demo", "--json")
    assert second["audit_verified"] is True
    assert second["execution"]["status"] == "COMPLETED"
    assert second["statistics"]["execution_count"] >= 2
    assert processes_of(home) == []
