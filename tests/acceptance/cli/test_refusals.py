"""Bad input: a clear error, exit code 2, and nothing written."""

import json
from collections.abc import Callable

import pytest

from tests.acceptance.cli.conftest import Tenantry

pytestmark = pytest.mark.processes

BOMB = "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"
CIRCLE = """\
name: Circle
agents: [{name: a, type: lead_request}, {name: b, type: lead_report}]
edges: [{from: a, to: b}, {from: b, to: a}]
"""
MANY = json.dumps(
    {"name": "Many", "agents": [{"name": f"a{n}", "type": "lead_request"} for n in range(500)]}
)


@pytest.fixture
def writes_nothing(tenantry: Tenantry, search: str) -> Callable[[], bool]:
    """Every write has an audit entry; so no new entry is no write."""

    def last_entry() -> int:
        return tenantry.ask("audit", "list", "--resource", search, "--limit", "1")["entries"]

    before = last_entry()
    return lambda: last_entry() == before


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        pytest.param("", "workflow.unreadable", id="empty"),
        pytest.param(BOMB, "workflow.unreadable", id="yaml bomb"),
        pytest.param('name: "a\\0b"', "workflow.unreadable", id="NUL"),
        pytest.param(CIRCLE, "graph.cyclic", id="circle"),
        pytest.param(MANY, "workflow.too_large", id="500 agents"),
        pytest.param("x" * 1_048_576, "workflow.too_large", id="1 MB"),
    ],
)
def test_a_bad_definition_is_refused(bare: Tenantry, definition: str, code: str):
    answer = bare("workflows", "create", "-f", "-", "--json", given=definition)
    assert answer.code == 2
    assert code in [problem["code"] for problem in answer.error["problems"]]
    assert not bare.home.joinpath("postgres").exists()
