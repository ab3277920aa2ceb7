"""Seeds of the runs: `CHAOS_SEED` is the first one, `CHAOS_SEEDS` how many follow each other."""

import os
import random

import pytest


def pytest_configure() -> None:
    # Drawn anew without one: each run looks somewhere else, and says where. In the environment, so
    # that processes which share the tests draw one.
    if not os.environ.get("CHAOS_SEED"):
        os.environ["CHAOS_SEED"] = str(random.randint(1, 999_999))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first, count = int(os.environ["CHAOS_SEED"]), int(os.environ.get("CHAOS_SEEDS") or 1)
        seeds = range(first, first + count)
        metafunc.parametrize("seed", seeds, ids=[f"seed-{seed}" for seed in seeds])
