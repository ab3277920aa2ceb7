"""The command line before anything runs: help, checks, wrong use, first use, Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.cli.env_example import render_env_example
from tests.acceptance.cli.conftest import EXECUTABLE, PATIENCE_S, SEARCH, Tenantry
from tests.support.homes import temporary_home

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[3]
_IMPORT = "from deployments.cli.application import run_command"

COMMANDS = (
    *("run", "workflows", "executions", "schedules", "demo", "connectors", "data", "audit"),
    *("orgs", "users", "tokens", "up", "migrate", "api", "worker", "steward", "bench"),
    *("drift", "settings", "pause", "resume"),
)


@pytest.fixture(scope="module")
def first_use() -> Iterator[Tenantry]:
    """A newcomer's home; nothing stays up between commands."""
    with temporary_home() as home:
        yield Tenantry(home)


def run_script(script: str, *arguments: str, home: Path) -> str:
    """Run commands in one Python, as a script may; loading it is most of what a command costs."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{_IMPORT}; {script}", *arguments],
        cwd=ROOT,
        env={"TENANTRY_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return ended.stdout


def imported_by(*arguments: str, home: Path) -> set[str]:
    """Run a command in a Python that tells afterwards what it has loaded."""
    script = "import sys; run_command(sys.argv[1:]); print('LOADED', *sys.modules)"
    return set(run_script(script, *arguments, home=home).rpartition("LOADED")[2].split())


def test_help_names_every_command_and_loads_nothing_heavy(bare: Tenantry):
    answer = bare("--help")
    assert answer.code == 0
    assert [name for name in COMMANDS if name not in answer.out] == []
    loaded = imported_by("--help", home=bare.home)
    assert loaded & {"prefect", "pandas", "sqlalchemy", "alembic"} == set()


def test_every_command_explains_itself(bare: Tenantry):
    script = "import sys; [run_command([name, '--help']) for name in sys.argv[1:]]"
    said = run_script(script, *COMMANDS, home=bare.home)
    assert [name for name in COMMANDS if f"Usage: tenantry {name}" not in said] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_a_shell(bare: Tenantry, shell: str, tmp_path: Path):
    ended = subprocess.run(
        [str(EXECUTABLE), "--install-completion", "--shell", shell],
        env={"TENANTRY_HOME": str(bare.home), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    (script,) = [path for path in tmp_path.rglob("*tenantry*") if path.is_file()]
    assert str(script) in ended.stdout
    text = script.read_text()
    assert [name for name in COMMANDS if name not in text] == []
    assert "idempotency-key" in text


def test_a_list_loads_neither_prefect_nor_pandas_nor_what_migrates(first_use: Tenantry):
    loaded = imported_by("executions", "list", "--json", home=first_use.home)
    assert loaded & {"prefect", "pandas", "alembic"} == set()


def test_a_newcomer_has_an_organization(first_use: Tenantry):
    assert first_use.ask("workflows", "list") == {"workflows": []}
    assert [org["id"] for org in first_use.ask("orgs", "list")["organizations"]] == ["org_demo"]


def test_migrating_the_embedded_database_needs_nothing(first_use: Tenantry):
    assert first_use.ask("migrate")["revision"]


def test_ctrl_c_leaves_an_execution_in_the_queue_and_says_how_to_find_it(first_use: Tenantry):
    first_use.ask("connectors", "set", "crm", "-f", "-", given="kind: dataset")
    companies = first_use.home.parent / "companies.csv"
    companies.write_text("name,industry\nCommerzbank,Banking\n")
    first_use.ask("data", "load", "companies", str(companies))
    first_use.ask("workflows", "create", "-f", "-", given=SEARCH)
    with first_use.start("run", "lead-search") as process:
        assert process.stderr is not None
        # On standard error, as the answer is still to come.
        line = next(line for line in process.stderr if "waits for" in line)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(PATIENCE_S) == 130, rest
    execution_id = line.split()[0]
    assert f"tenantry executions show {execution_id}" in rest
    assert first_use.ask("executions", "show", execution_id)["status"] == "PENDING"


def test_validate_needs_no_database(bare: Tenantry):
    assert bare.ask("workflows", "validate", "-f", "-", given=SEARCH) == {
        "valid": True,
        "problems": [],
    }
    assert not bare.home.exists()


def test_validate_exits_with_one_when_something_is_wrong(bare: Tenantry):
    answer = bare("workflows", "validate", "-f", "-", "--json", given="name: x")
    assert answer.code == 1
    assert answer.document["valid"] is False


@pytest.mark.parametrize(
    "arguments",
    [("worflows", "list"), ("workflows", "lst"), ("workflows", "list", "--al"), ("run",)],
)
def test_wrong_use_exits_with_two(bare: Tenantry, arguments: tuple[str, ...]):
    answer = bare(*arguments, "--json")
    assert (answer.code, answer.error["code"]) == (2, "command.invalid")
    assert answer.err


def test_an_unknown_setting_is_refused(bare: Tenantry):
    odd = Tenantry(bare.home, {"TENANTRY_WORKER_LIMITS": "3"})
    answer = odd("settings")
    assert answer.code == 2
    assert "Did you mean TENANTRY_WORKER_LIMIT?" in answer.err


def test_settings_hide_their_secrets(bare: Tenantry):
    secret = "0123456789abcdef" * 4
    own = Tenantry(bare.home, {"TENANTRY_AUDIT_KEY": secret})
    shown = own("settings").out + own("settings", "--json").out
    assert "TENANTRY_AUDIT_KEY" in shown
    assert secret not in shown


@pytest.mark.parametrize("service", ["worker", "steward"])
def test_a_service_says_which_setting_is_missing(bare: Tenantry, service: str):
    answer = bare(service, "--json")
    assert (answer.code, answer.error["code"]) == (2, "settings.invalid")


def test_a_reader_that_has_seen_enough_is_no_error(bare: Tenantry):
    with bare.start("settings") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_S) == 0


def test_what_nobody_expected_goes_to_a_log_and_not_to_the_terminal(bare: Tenantry):
    broken = bare.home.parent / "broken"
    broken.mkdir()
    broken.joinpath("yaml.py").write_text("raise RuntimeError('the library is broken')")
    unlucky = Tenantry(bare.home.parent / "unlucky", {"PYTHONPATH": str(broken)})
    answer = unlucky("workflows", "validate", "-f", "-", given=SEARCH)
    log = unlucky.home / "logs" / "cli.log"
    assert answer.code == 3
    assert "Traceback" not in answer.err + answer.out
    assert str(log) in answer.err
    assert "the library is broken" in log.read_text()


def test_the_example_of_an_environment_file_is_in_step():
    example = ROOT / ".env.example"
    assert example.read_text(encoding="utf-8") == render_env_example()


def test_the_executable_is_the_one_of_this_environment():
    assert EXECUTABLE.is_file()
