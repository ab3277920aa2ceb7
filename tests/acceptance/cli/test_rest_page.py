"""`docs/rest-api.md` is true: its commands run as they stand there, and its answers come."""

import os
import sys
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import EXECUTABLE, OURS, PATIENCE_S, Up
from tests.support.pages import Played, Step, play, read_steps

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]
PAGE = Path(__file__).parents[3] / "docs" / "rest-api.md"
STEPS = read_steps(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def played(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """All commands of the page, run once."""
    folder = tmp_path_factory.mktemp("page") / "empty"
    folder.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environ = {
        **clean,
        "PATH": f"{EXECUTABLE.parent}{os.pathsep}{Path(sys.executable).parent}"
        f"{os.pathsep}{os.environ['PATH']}",
        "TENANTRY_HOME": str(up.tenantry.home),
        "API": up.addresses["api"],
    }
    return play(STEPS, folder, environ, timeout_s=2 * PATIENCE_S)


def test_all_commands_of_the_page_work(played: Played):
    last = STEPS[len(played.printed) - 1]
    assert played.code == 0, f"line {last.line}:\n{last.commands}{played.complaints}"
    assert len(played.printed) == len(STEPS)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=lambda n: f"line-{STEPS[n].line}")
def test_what_comes_is_what_the_page_shows(played: Played, number: int):
    step: Step = STEPS[number]
    assert number < len(played.printed), "an earlier command failed"
    assert step.find_difference(played.printed[number]) is None
