"""The API keeps to its OpenAPI document: schemathesis tries every operation, with all checks.

Run as its own program, as anybody may run it against a server. Event streams never end, so they
have their own tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deployments.catalogue import write_catalogue
from deployments.settings import load_settings
from tests.api.conftest import Api
from tests.persistence.test_isolation import fill_every_table
from tests.support.databases import ACME, GLOBEX

# Minutes of its own, so it has a target of its own: make test-contract.
pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
# For each operation and phase. More find more, and take longer.
MAX_EXAMPLES = 20
# A change that does not fit is refused as well if it was made from an old version.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428]
"""


@pytest.fixture
def filled(api: Api, database_url) -> Api:
    url = database_url.render_as_string(hide_password=False)
    write_catalogue(load_settings({"TENANTRY_DATABASE_URL": url}))
    for org_id in (ACME, GLOBEX):
        fill_every_table(api.database, org_id)
    return api


@pytest.mark.timeout(400)
def test_no_answer_differs_from_the_document(filled: Api, tmp_path):
    token = filled.token()
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"{filled.url}/api/v1/openapi.json",
        *("--header", f"Authorization: Bearer {token}"),
        *("--exclude-path", "/api/v1/events"),
        *("--checks", "all", "--mode", "all"),
        # In its place the hooks have a check that knows of rules beyond a schema.
        *("--exclude-checks", "positive_data_acceptance"),
        *("--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--request-timeout", "20"),
        *("--no-color", "--generation-database", "none"),
    ]
    headers = {"Authorization": f"Bearer {token}"}
    tokens = httpx.get(f"{filled.url}/api/v1/tokens", headers=headers).json()["items"]
    environment = {
        **os.environ,
        "CONTRACT_SPARED": " ".join(["user_admin", *(each["id"] for each in tokens)]),
        "SCHEMATHESIS_HOOKS": "tests.api.contract_hooks",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    (tmp_path / "report.txt").write_text(done.stdout)
    found = re.search(r"(\d+) generated", done.stdout)
    # Otherwise it was refused for the wrong reason from some time on.
    assert httpx.get(f"{filled.url}/api/v1/tokens", headers=headers).status_code == 200
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert found is not None
    assert int(found[1]) > 1_000
