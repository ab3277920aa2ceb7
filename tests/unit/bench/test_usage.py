"""CPU and memory of processes, read from Linux."""

import os
import subprocess
import sys
import time

import pytest

from deployments.bench.usage import Usage, cpu_between, read_usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_a_process_counts_with_all_that_it_started():
    script = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\n"
    before = read_usage({"us": os.getpid()})
    subprocess.run([sys.executable, "-c", script], check=True)
    spent = cpu_between(before, read_usage({"us": os.getpid()}))
    assert spent["us"] >= 0.3


def test_children_that_still_run_count():
    with subprocess.Popen([sys.executable, "-c", _BURN + "time.sleep(60)"]) as child:
        try:
            deadline = time.monotonic() + 60
            while read_usage({"child": child.pid})["child"].cpu_s < 0.3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert read_usage({"child": child.pid})["child"].rss_mb > 1
        finally:
            child.kill()


def test_a_process_that_is_gone_is_left_out():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert read_usage({"gone": child.pid}) == {}


def test_who_came_in_between_is_left_out():
    before, after = {"old": Usage(1.0, 1)}, {"old": Usage(3.5, 1), "new": Usage(9.0, 1)}
    assert cpu_between(before, after) == {"old": 2.5}
