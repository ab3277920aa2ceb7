"""Seeds of the runs: `CHAOS_SEED` is the first one, `CHAOS_SEEDS` how many follow each other."""

import os
import random

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        # Drawn anew without one: each run looks somewhere else, and says where.
        first = int(os.environ.get("CHAOS_SEED") or random.randint(1, 999_999))
        seeds = range(first, first + int(os.environ.get("CHAOS_SEEDS") or 1))
        metafunc.parametrize("seed", seeds, ids=[f"seed-{seed}" for seed in seeds])
