"""The documented settings of Prefect are the ones that the embedded stack runs with."""

import re
from pathlib import Path

from deployments.embedded.layout import Home
from deployments.embedded.prefect_server import TUNED, build_prefect_spec
from deployments.installation import prefect_client_environ
from deployments.settings import load_settings

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def documented_blocks() -> list[dict[str, str]]:
    """Read the environments of the section, in order."""
    text = OPERATIONS.read_text()
    section = re.split(r"^## ", text, flags=re.M)
    (tuned,) = [part for part in section if part.startswith("Prefect's server, tuned\n")]
    blocks = re.findall(r"```sh\n(.*?)```", tuned, flags=re.S)
    lines = [re.findall(r"^(P[A-Z]+\w+)=(\S*)", block, flags=re.M) for block in blocks]
    return [dict(found) for found in lines]


def test_the_documented_server_is_the_embedded_one(tmp_path: Path):
    server, _ = documented_blocks()
    spec = build_prefect_spec(Home(tmp_path), port=1, database_port=2, database_password="x")
    assert server == dict(TUNED)
    assert {name: spec.env[name] for name in server} == server


def test_the_documented_clients_are_the_embedded_ones(tmp_path: Path):
    _, client = documented_blocks()
    environ = prefect_client_environ(load_settings({"TENANTRY_HOME": str(tmp_path)}))
    assert client
    assert {name: environ[name] for name in client} == client
