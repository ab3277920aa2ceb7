"""Bad input: a clear error, exit code 2, and nothing written."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.cli.application import run_command
from tests.acceptance.cli.conftest import SEARCH, Answer, Tenantry

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
TWO_MISTAKES = SEARCH.replace("lead_report", "lead_reprot").replace("connector: crm, ", "")


Refuse = Callable[..., Answer]


@pytest.fixture
def refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refuse:
    """Run a command in this process, which spares a second each; and see that it wrote nothing.

    Nothing can have been written where no database was ever started.
    """
    for name in [name for name in os.environ if name.startswith(("TENANTRY_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("TENANTRY_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, given: str = "") -> Answer:
        standard_input = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
        with standard_input, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", standard_input)
            code = run_command(arguments)
        assert not home.exists()
        return Answer(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    ("definition", "code"),
    [
        pytest.param("", "workflow.unreadable", id="empty"),
        pytest.param(BOMB, "workflow.unreadable", id="yaml-bomb"),
        pytest.param('name: "a\\0b"', "workflow.unreadable", id="nul"),
        pytest.param(CIRCLE, "graph.cyclic", id="circle"),
        pytest.param(MANY, "workflow.too_large", id="500-agents"),
        pytest.param("x" * 1_048_576, "workflow.too_large", id="1-mb"),
    ],
)
def test_a_bad_definition_is_refused_before_anything_is_opened(
    refuse: Refuse, definition: str, code: str
):
    answer = refuse("workflows", "create", "-f", "-", "--json", given=definition)
    assert answer.code == 2
    assert code in [problem["code"] for problem in answer.error["problems"]]


def test_all_problems_are_told_at_once_each_with_its_place_and_what_to_do(refuse: Refuse):
    answer = refuse("workflows", "create", "-f", "-", given=TWO_MISTAKES)
    assert answer.code == 2
    assert answer.out == ""
    for part in (
        "2 problems",
        "/agents/1/config/connector  line 6  field.missing",
        "/agents/2/type  line 7  agent.type_unknown",
        "Did you mean `lead_report`?",
    ):
        assert part in answer.err


@pytest.mark.parametrize(
    ("arguments", "given", "code"),
    [
        pytest.param(["--input", ""], "", "execution.input_invalid", id="empty"),
        pytest.param(["--input-file", "-"], "a" * 2**20, "execution.input_invalid", id="1-mb"),
        pytest.param(["--input-file", "-"], '{"a": ', "execution.input_invalid", id="half-json"),
        pytest.param(
            ["--input-file", "-"], '{"a": "\\u0000"}', "execution.input_invalid", id="nul"
        ),
        pytest.param(["--input-file", "absent"], "", "file.unreadable", id="absent-file"),
        pytest.param(["--input-file", "/"], "", "file.unreadable", id="folder"),
        pytest.param(["--input", "a", "--input-file", "b"], "", "command.invalid", id="two"),
        pytest.param(["--priority", "9"], "", "command.invalid", id="priority"),
        pytest.param(["--idempotency-key", "k" * 3000], "", "command.invalid", id="long-key"),
        pytest.param(["--user", "Root"], "", "command.invalid", id="user"),
    ],
)
def test_a_bad_run_is_refused_before_anything_is_opened(
    refuse: Refuse, arguments: list[str], given: str, code: str
):
    answer = refuse("run", "any", *arguments, "--json", given=given)
    assert (answer.code, answer.error["code"]) == (2, code)
    assert answer.error["hint"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        pytest.param(
            "latin.csv", "name\nM\xfcller\n".encode("latin-1"), "data.unreadable", id="enc"
        ),
        pytest.param("empty.csv", b"", "data.unreadable", id="empty"),
        pytest.param("head.csv", b"a,b\n", "data.unreadable", id="no-rows"),
        pytest.param("ragged.csv", b"a,b\n1,2,3,4\n1\n", "data.unreadable", id="ragged"),
        pytest.param("mixed.jsonl", b'{"a": 1}\n{"a": "x"}\n', "data.unreadable", id="mixed"),
        pytest.param("odd.parquet", b"garbage", "data.unreadable", id="no-parquet"),
        pytest.param("letter.doc", b"text", "command.invalid", id="other-kind"),
    ],
)
def test_bad_records_are_refused_before_anything_is_opened(
    refuse: Refuse, name: str, content: bytes, code: str
):
    Path(name).write_bytes(content)  # into the folder of this test
    answer = refuse("data", "load", "companies", name, "--json")
    assert (answer.code, answer.error["code"]) == (2, code)


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ("kind: fiel", "/kind"),
        ("kind: sql", "/url"),
        ("kind: dataset\nfolder: x", "/folder"),
        ("kind: file\nencoding: klingon", "/encoding"),
    ],
)
def test_a_bad_connector_is_refused_before_anything_is_opened(
    refuse: Refuse, definition: str, pointer: str
):
    answer = refuse("connectors", "set", "crm", "-f", "-", "--json", given=definition)
    assert answer.code == 2
    assert [problem["pointer"] for problem in answer.error["problems"]] == [pointer]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///name",
        "postgresql://owner:pass@host:port/name",
        "postgresql://owner@host/name",
        "mysql://owner:pass@host/name",
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("executions", "list"), ("up",)])
def test_a_bad_address_of_ones_own_database_is_refused_without_repeating_it(
    refuse: Refuse, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], url: str
):
    monkeypatch.setenv("TENANTRY_DATABASE_URL", url)
    answer = refuse(*command, "--json")
    assert (answer.code, answer.error["code"]) == (2, "settings.invalid")
    assert url not in answer.out + answer.err


def test_a_schedule_that_cannot_fire_is_refused_before_anything_is_opened(refuse: Refuse):
    answer = refuse(
        "schedules", "add", "any", "--cron", "0 0 30 2 *", "--timezone", "Bärlin", "--json"
    )
    assert answer.code == 2
    assert {problem["pointer"] for problem in answer.error["problems"]} == {"/cron", "/timezone"}


def test_an_organization_that_is_not_there_is_said_to_be_missing(tenantry: Tenantry):
    answer = tenantry("workflows", "create", "-f", "-", "--org", "org_x", "--json", given=SEARCH)
    assert (answer.code, answer.error["code"]) == (2, "organization.not_found")


def test_names_may_be_of_any_script(tenantry: Tenantry):
    definition = SEARCH.replace("Lead search", "🚀 顧客 [red]Ä[/red]")
    tenantry.ask("workflows", "create", "-f", "-", given=definition)
    assert "🚀 顧客 [red]Ä[/red]" in tenantry("workflows", "list").out


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("workflows", "show", "x"), "workflow.not_found"),
        (("executions", "show", "exec_x"), "execution.not_found"),
        (("schedules", "remove", "sched_x"), "schedule.not_found"),
        (("run", "x", "--input", "y"), "workflow.not_found"),
    ],
)
def test_what_is_not_there_is_an_error_of_use(
    tenantry: Tenantry, command: tuple[str, ...], code: str
):
    answer = tenantry(*command, "--json")
    assert (answer.code, answer.error["code"]) == (2, code)
