"""The API keeps to its OpenAPI document: schemathesis tries every operation, with all checks.

Run as its own program, as anybody may run it against a server. The configuration is in
`schemathesis.toml` beside this file, what it cannot say in `contract_hooks.py`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.definitions import EXAMPLE_DEFINITION
from deployments.catalogue import write_catalogue
from deployments.settings import load_settings
from domain.clock import utc_now
from persistence.execution_moves import finish_executions
from persistence.members import set_platform_admin
from tests.api.conftest import Api
from tests.persistence.test_isolation import fill_every_table
from tests.support.databases import ACME, ADMIN, GLOBEX
from tests.support.factories import ending, queue, simple_workflow

# Minutes of its own, so it has a target of its own: make test-contract.
pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# For each operation and phase. More find more, and take longer: `CONTRACT_EXAMPLES=200`.
MAX_EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "30")
SEED = os.environ.get("CONTRACT_SEED", "1")
# Two organizations that must not see each other's things, for `object_level_authorization`.
RUN_CONFIG = """
[dictionaries.executions]
values = {executions}

[auth.wfc]
path = "peers.json"
user = "acme"
peers = ["acme", "globex"]
"""
# All operations of the document; a new one is tried without being listed anywhere.
MIN_OPERATIONS = 34
MIN_CASES = 2_500


@pytest.fixture
def filled(api: Api, database_url) -> Api:
    url = database_url.render_as_string(hide_password=False)
    write_catalogue(load_settings({"TENANTRY_DATABASE_URL": url}))
    for org_id in (ACME, GLOBEX):
        fill_every_table(api.database, org_id)
        ended = queue(api.database, org_id, simple_workflow(api.database, org_id, name="Ended"))
        with api.database.org(org_id) as session:
            finish_executions(
                session, [ending(ended)], at=utc_now(), started_at=utc_now(), state=None
            )
    with api.database.for_platform() as session:
        # Otherwise the operations of the platform would only ever be refused.
        set_platform_admin(session, ADMIN, is_admin=True)
    return api


@pytest.mark.timeout(900)
def test_no_answer_differs_from_the_document(filled: Api, tmp_path: Path):
    with filled.client() as client:
        # The workflow that the document's examples are about.
        client.post("/workflows", json=EXAMPLE_DEFINITION).raise_for_status()
        write_configuration(tmp_path, filled, client)
        spared = [each["id"] for each in client.get("/tokens").json()["items"]]
        done = run_schemathesis(filled, tmp_path, spared=[ADMIN, *spared])
        # Otherwise it was refused for the wrong reason from some time on.
        assert client.get("/tokens").status_code == 200
    assert done.returncode == 0, done.stdout[-30_000:] + done.stderr[-2_000:]
    report = json.loads((tmp_path / "report.json").read_text())
    counts, operations = report["test_cases"], report["operations"]
    # Shown by `pytest -rP`: how much was tried.
    sys.stdout.write(
        f"schemathesis {report['schemathesis_version']}, all checks, seed {report['seed']}: "
        f"{counts['generated']} cases for {operations['tested']} operations, "
        f"{len(report['failures'])} failures, {len(report['errors'])} errors\n"
    )
    assert (report["failures"], report["errors"], report["complete"]) == ([], [], True)
    assert operations["tested"] == operations["total"] >= MIN_OPERATIONS
    assert counts["generated"] >= MIN_CASES
    # An operation that refuses all it gets is not tested, only its refusals are.
    accepted = {
        name: sum(phase["accepted"] for phase in phases.values())
        for name, phases in report["valid_rates"].items()
    }
    assert len(accepted) == operations["total"]
    assert [name for name, count in accepted.items() if not count] == []


def run_schemathesis(
    filled: Api, folder: Path, *, spared: list[str]
) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"{filled.url}/api/v1/openapi.json",
        *("--checks", "all", "--mode", "all", "--continue-on-failure", "--no-color"),
        *("--max-examples", MAX_EXAMPLES, "--seed", SEED, "--request-timeout", "20"),
        *("--report", "json", "--report-json-path", "report.json"),
    ]
    environment = {
        **os.environ,
        "CONTRACT_SPARED": " ".join(spared),
        "SCHEMATHESIS_HOOKS": "tests.api.contract_hooks",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def write_configuration(folder: Path, filled: Api, client: httpx.Client) -> None:
    executions = [each["id"] for each in client.get("/executions").json()["items"]]
    config = CONFIG.read_text() + RUN_CONFIG.format(executions=json.dumps(executions))
    (folder / "schemathesis.toml").write_text(config)
    tokens = {"acme": filled.token(org_id=ACME), "globex": filled.token(org_id=GLOBEX)}
    peers = [
        {
            "name": name,
            "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}],
        }
        for name, token in tokens.items()
    ]
    (folder / "peers.json").write_text(json.dumps({"auth": peers}))
