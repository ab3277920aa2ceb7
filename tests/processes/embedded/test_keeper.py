"""The keeper: who keeps it alive, what it restarts, and that nothing is left without it."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from deployments.embedded import keeper_client
from deployments.embedded.errors import StackBusy, StackStartFailed
from deployments.embedded.layout import Home
from deployments.embedded.locks import FileLock
from deployments.embedded.specs import ServiceSpec
from deployments.embedded.stack import open_stack
from deployments.embedded.state import ServiceStatus, read_state, write_state
from deployments.settings import Settings
from tests.processes.embedded.conftest import (
    User,
    keeper_pid,
    pid_of,
    pids_of,
    sleeper,
    state_of,
    wait_until,
)

StartUser = Callable[..., User]


def script(home: Home, name: str, code: str, **changes: object) -> ServiceSpec:
    """Describe a service by its Python code; `sys.argv[1]` is the home."""
    return replace(
        sleeper(home, name), argv=(sys.executable, "-c", code, str(home.path)), **changes
    )


def test_two_that_start_at_once_share_one_stack(home: Home, start_user: StartUser):
    first, second = start_user("postgres"), start_user("postgres")
    said = [first.answer(), second.answer()]
    assert said[0]["database_url"] == said[1]["database_url"]
    assert state_of(home, "postgres").starts == 1
    keepers = [
        line for line in home.log_of("keeper").read_text().splitlines() if "keeper of" in line
    ]
    assert len(keepers) == 1


def test_the_last_user_that_leaves_leaves_no_process(home: Home, settings: Settings):
    with open_stack(settings) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()
        assert len(pids_of(home)) > 2
    assert pids_of(home) == set()


def test_the_stack_stays_while_anybody_uses_it(home: Home, start_user: StartUser):
    first, second = start_user(), start_user()
    first.answer()
    second.answer()
    first.ask(extra=(sleeper(home),))
    second.ask(extra=(sleeper(home),))
    running = pid_of(home, "sleeper")
    assert first.leave() == {"closed": True}
    assert second.ask(extra=(sleeper(home),)) == {}
    assert pid_of(home, "sleeper") == running
    second.leave()
    assert pids_of(home) == set()


def test_a_killed_user_leaves_no_process(home: Home, start_user: StartUser):
    user = start_user("postgres")
    user.answer()
    user.ask(extra=(sleeper(home),))
    user.kill()
    wait_until("the end of all", lambda: not pids_of(home))


def test_a_killed_keeper_takes_its_services_along(home: Home, start_user: StartUser):
    user = start_user("postgres")
    user.answer()
    user.ask(extra=(sleeper(home),))
    os.kill(keeper_pid(home), signal.SIGKILL)
    wait_until("only the user", lambda: not pids_of(home))
    assert user.process.poll() is None


def test_a_start_works_right_after_the_keeper_was_killed(
    home: Home, settings: Settings, start_user: StartUser
):
    user = start_user("postgres")
    before = user.answer()["database_url"]
    os.kill(keeper_pid(home), signal.SIGKILL)
    with open_stack(settings) as stack:
        assert stack.database_url == before
        assert state_of(home, "postgres").status is ServiceStatus.READY


def test_a_user_can_have_a_killed_keeper_replaced(home: Home, settings: Settings):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        killed = keeper_pid(home)
        os.kill(killed, signal.SIGKILL)
        wait_until("the loss to be seen", stack.failures)
        stack.ensure()
        stack.wait_ready()
        assert keeper_pid(home) != killed
        assert stack.failures() == {}


def test_users_that_come_and_go_all_the_time_never_miss_each_other(
    home: Home, settings: Settings, start_user: StartUser
):
    for _ in range(6):
        others = [start_user(), start_user()]
        with open_stack(settings, ()) as stack:
            stack.ensure(extra=[sleeper(home)])
            stack.wait_ready()
        for other in others:
            assert other.answer() == {}
            assert other.ask(extra=(sleeper(home),)) == {}
            assert other.leave() == {"closed": True}
    assert pids_of(home) == set()


def test_a_running_keeper_takes_requests_for_more(home: Home, settings: Settings):
    with open_stack(settings) as stack:
        keeper, database = keeper_pid(home), pid_of(home, "postgres")
        stack.ensure(extra=[sleeper(home, "later", after=("postgres",))])
        stack.wait_ready()
        assert state_of(home, "later").status is ServiceStatus.READY
        assert (keeper_pid(home), pid_of(home, "postgres")) == (keeper, database)


def test_a_service_gets_its_own_environment_and_not_that_of_the_first_user(
    home: Home, start_user: StartUser
):
    user = start_user(TENANTRY_ORG="org_first", PREFECT_PROFILE="mine", PATH=os.environ["PATH"])
    user.answer()
    code = "import json, os, time; print(json.dumps(dict(os.environ)), flush=True); time.sleep(99)"
    user.ask(extra=(script(home, "shows", code, env={"TENANTRY_USER": "user_given"}),))
    shown = wait_until("its output", home.log_of("shows").read_text)
    assert '"TENANTRY_USER": "user_given"' in shown
    assert "TENANTRY_ORG" not in shown
    assert "PREFECT_PROFILE" not in shown
    assert '"PATH"' in shown


def test_a_service_that_dies_is_started_again(home: Home, settings: Settings):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()
        os.kill(pid_of(home, "sleeper"), signal.SIGKILL)
        wait_until("the second start", lambda: state_of(home, "sleeper").starts == 2)
        stack.wait_ready()


def test_what_a_dead_service_started_is_ended_too(home: Home, settings: Settings):
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)', sys.argv[1]])\n"
        "time.sleep(99)"
    )
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[script(home, "parent", code)])
        # The keeper, the service, and its child.
        family = wait_until("three processes", lambda: len(all_ := pids_of(home)) == 3 and all_)
        os.kill(pid_of(home, "parent"), signal.SIGKILL)
        wait_until("the second start", lambda: state_of(home, "parent").starts == 2)
        assert family & pids_of(home) == {keeper_pid(home)}


def test_a_service_that_never_gets_ready_fails_with_what_it_said(home: Home, settings: Settings):
    # A busy machine may take a second to start an interpreter: it shall not count as ready by then.
    code = "raise SystemExit('no such thing as a free lunch')"
    broken = replace(script(home, "broken", code), ready_after_s=8)
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[broken])
        with pytest.raises(StackStartFailed, match="broken could not be started") as failed:
            stack.wait_ready()
        assert "no such thing as a free lunch" in failed.value.hint
        assert str(home.log_of("broken")) in failed.value.hint
        assert set(stack.failures()) == {"broken"}
        assert state_of(home, "broken").starts == 3


def test_a_failed_service_is_tried_again_when_it_is_asked_for_again(home: Home, settings: Settings):
    code = (
        "import pathlib, sys, time\n"
        "sys.exit(3) if not (pathlib.Path(sys.argv[1]) / 'repaired').exists() else time.sleep(99)"
    )
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[replace(script(home, "fragile", code), ready_after_s=8)])
        with pytest.raises(StackStartFailed, match="exit code 3"):
            stack.wait_ready()
        (home.path / "repaired").touch()
        stack.ensure()
        stack.wait_ready()
        assert stack.failures() == {}


def test_a_command_that_does_not_exist_fails_at_once(home: Home, settings: Settings):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home, "typo", argv=("/nowhere/tenantry",))])
        with pytest.raises(StackStartFailed, match="typo can't be started"):
            stack.wait_ready()
        assert state_of(home, "typo").starts == 0


def test_a_service_that_may_end_is_not_started_again(home: Home, settings: Settings):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[script(home, "once", "pass", restart=False, ready_after_s=60)])
        stack.wait_ready()
        ended = state_of(home, "once")
        assert (ended.status, ended.starts, ended.exit_code) == (ServiceStatus.ENDED, 1, 0)


def test_a_service_starts_after_what_it_needs_and_stops_before_it(home: Home, settings: Settings):
    code = (
        "import signal, sys, time\n"
        "name = sys.argv[2]\n"
        "def note(what):\n"
        "    with open(sys.argv[1] + '/order', 'a') as file: file.write(f'{what} {name}\\n')\n"
        "def end(*_):\n"
        "    time.sleep(0.3); note('end'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "note('begin')\n"
        "time.sleep(99)"
    )
    lower, upper = (
        replace(script(home, name, code), argv=(sys.executable, "-c", code, str(home.path), name))
        for name in ("lower", "upper")
    )
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[replace(upper, after=("lower",)), lower])
        stack.wait_ready()
        wait_until("both", lambda: len((home.path / "order").read_text().splitlines()) == 2)
    order = (home.path / "order").read_text().splitlines()
    assert order == ["begin lower", "begin upper", "end upper", "end lower"]


def test_a_service_that_ignores_the_stop_signal_is_killed(home: Home, settings: Settings):
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(99)"
    )
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[script(home, "deaf", code, stop_grace_s=0.3)])
        wait_until("it to be deaf", lambda: "deaf" in home.log_of("deaf").read_text())
    assert pids_of(home) == set()


def test_a_process_that_got_a_service_pid_again_is_not_ended(
    home: Home, settings: Settings, start_user: StartUser
):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()
        last = read_state(home.state_file)
    bystander = start_user()
    bystander.answer()
    mine = replace(last.services["sleeper"], pid=bystander.process.pid)
    write_state(home.state_file, replace(last, services={"sleeper": mine}))
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()
        assert bystander.process.poll() is None


def test_a_signal_to_the_keeper_stops_everything(home: Home, start_user: StartUser):
    user = start_user("postgres")
    user.answer()
    os.kill(keeper_pid(home), signal.SIGTERM)
    wait_until("the end of all", lambda: not pids_of(home))
    assert not (home.postgres / "data/postmaster.pid").exists()


def test_a_damaged_state_file_does_not_stop_the_start(home: Home, settings: Settings):
    home.make_folders()
    home.state_file.write_text('{"services": {"postgres": 3')
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()


def test_a_request_that_nobody_can_read_harms_no_service(home: Home, settings: Settings):
    with open_stack(settings, ()) as stack:
        stack.ensure(extra=[sleeper(home)])
        stack.wait_ready()
        running = pid_of(home, "sleeper")
        damaged = home.requests / "damaged.json"
        damaged.write_text('{"id": "x"}')
        wait_until("it to be taken", lambda: not damaged.exists())
        stack.ensure(extra=[sleeper(home, "another")])
        stack.wait_ready()
        assert pid_of(home, "sleeper") == running


def test_who_waits_too_long_for_another_start_is_told_so(
    home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeper_client, "_ENDING_S", 0.1)
    home.make_folders()
    with FileLock(home.start_lock) as other:
        assert other.try_acquire()
        with pytest.raises(StackBusy, match="busy"), open_stack(settings):
            pass
    assert pids_of(home) == set()


def test_an_unknown_service_is_a_mistake_of_the_caller(settings: Settings):
    with pytest.raises(ValueError, match="'redis'"), open_stack(settings, ("redis",)):
        pass
