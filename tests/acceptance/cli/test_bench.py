"""`tenantry bench` on a stack of its own."""

import json
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Tenantry

pytestmark = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.processes]
# It starts seven processes, most of which import Prefect: half a minute, if nothing else runs.
START_S = 280
LEFT = "tenantry-bench-*"


@pytest.mark.timeout(START_S + 20)
def test_a_quick_run_measures_compares_and_leaves_nothing_behind(bare: Tenantry):
    before = set(Path("/var/tmp").glob(LEFT))
    arguments = ("bench", "--quick", "--only", "single,mirror", "--seconds", "0.5", "--json")
    with bare.start(*arguments) as process:
        out, err = process.communicate(timeout=START_S)
    assert process.returncode == 0, err
    document = json.loads(out)
    lines = {(line["contender"], line["at_once"]): line for line in document["lines"]}
    assert {contender for contender, _ in lines} == {"single", "mirror"}
    single = lines["single", 1]
    assert single["rounds"][0]["count"] >= 1
    assert 0 < single["pickup_ms"]["median"] < single["latency_ms"]["median"]
    assert single["cpu_ms_each"]["worker"] > 0
    # In batches a transition costs each execution less: what coalescing is built on.
    assert lines["mirror", 100]["per_s"]["median"] > lines["mirror", 1]["per_s"]["median"]
    ratios = document["ratios"]
    assert ratios["pickup_ms_p50"] == pytest.approx(single["pickup_ms"]["median"], abs=0.1)
    assert ratios["coalesced_over_dbos"] is None
    assert set(Path("/var/tmp").glob(LEFT)) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "airflow"), "There is no contender `airflow`."),
        (("--rounds", "0"), "--rounds must be more than 0."),
        (("--executions", "3", "--orgs", "5"), "fewer executions than organizations"),
        (("--growth", "1000,many"), "are no numbers of executions"),
        (("--sweep", "8,16"), "is no setting with its values"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    bare: Tenantry, arguments: tuple[str, ...], words: str
):
    answer = bare("bench", *arguments, "--json")
    assert answer.code == 2
    assert words in answer.error["message"]
    assert "Starting" not in answer.err
