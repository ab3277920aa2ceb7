"""The executable `tenantry` and an installation that is up."""

import io
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deployments.cli.application import run_command
from deployments.embedded.ports import choose_port
from tests.support.documents import read_document
from tests.support.homes import temporary_home

EXECUTABLE = Path(sysconfig.get_path("scripts")) / "tenantry"
PATIENCE_S = 100
OURS = ("TENANTRY_", "PREFECT_")

SEARCH = """\
name: Lead search
description: Finds leads.
default_input: Find companies in Berlin
agents:
  - {name: Analyst, type: lead_request}
  - {name: Qualifier, type: sales_intelligence, config: {connector: crm, object_type: companies}}
  - {name: Report, type: lead_report}
edges:
  - {from: Analyst, to: Qualifier}
  - {from: Qualifier, to: Report}
"""

COMPANIES = """\
name,city,country,employees,industry
Acme,San Francisco,US,250,enterprise software
Globex,Berlin,DE,1200,machines
Initech,San Francisco,US,90,enterprise software
"""


@dataclass(frozen=True)
class Answer:
    """How one command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; anything beside it fails the test."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that the document tells of."""
        return self.document["error"]


@dataclass(frozen=True)
class Tenantry:
    """The command line in one home."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        # Of the terminal that the tests run in.
        clean.pop("COLUMNS", None)
        return subprocess.Popen(
            [EXECUTABLE, *arguments],
            env={**clean, "TENANTRY_HOME": str(self.home), **self.environ},
            cwd=self.home.parent,
            text=True,
            stdin=subprocess.PIPE,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def __call__(self, *arguments: str, given: str | None = None) -> Answer:
        """Run a command to its end."""
        with self.start(*arguments) as process:
            out, err = process.communicate(given, timeout=PATIENCE_S)
            return Answer(process.returncode, out, err)

    def ask(self, *arguments: str, given: str = "") -> Any:
        """Run a command that must work, and read its document.

        In this process: loading Python's libraries is most of what a command costs.
        """
        out, err = io.StringIO(), io.StringIO()
        standard_input = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch, standard_input:
            for name in [name for name in os.environ if name.startswith(OURS)]:
                patch.delenv(name)
            patch.setenv("TENANTRY_HOME", str(self.home))
            patch.chdir(self.home.parent)
            patch.setattr("sys.stdin", standard_input)
            with redirect_stdout(out), redirect_stderr(err):
                code = run_command([*arguments, "--json"])
        assert code == 0, err.getvalue()
        return json.loads(out.getvalue())

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file into the folder in which commands run."""
        path = self.home.parent / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name


@pytest.fixture(scope="session")
def bare() -> Iterator[Tenantry]:
    """A home in which nothing was ever started."""
    with temporary_home() as home:
        yield Tenantry(home)


@dataclass(frozen=True)
class Up:
    """An installation that is up, and what `tenantry up` said of it."""

    tenantry: Tenantry
    addresses: dict[str, str]


@pytest.fixture(scope="session")
def up() -> Iterator[Up]:
    """`tenantry up`, from an empty home until SIGTERM."""
    with temporary_home() as home:
        # Not the default one, which another test process's may take at the same moment.
        tenantry = Tenantry(home, environ={"TENANTRY_API_PORT": str(choose_port())})
        log = home.parent / "up.log"
        with log.open("w") as file, tenantry.start("up", "--json", stderr=file) as process:
            try:
                assert process.stdout is not None
                yield Up(tenantry, read_document(process.stdout))
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(PATIENCE_S)
        # Here, as only the end of all tests may stop it.
        assert code == 0
        assert log.read_text().rstrip().endswith("Stopped.")


@pytest.fixture(scope="session")
def tenantry(up: Up) -> Tenantry:
    return up.tenantry


@pytest.fixture(scope="session")
def search(tenantry: Tenantry) -> str:
    """The slug of a workflow that finds leads in loaded records."""
    tenantry.ask("data", "load", "companies", tenantry.write("companies.csv", COMPANIES))
    tenantry.ask("connectors", "set", "crm", "-f", "-", given="kind: dataset")
    return tenantry.ask("workflows", "create", "-f", "-", given=SEARCH)["workflow"]["slug"]
