"""Ctrl-C comes between two steps, and is told from an error that it caused."""

import os
import signal
import time

import pytest

from deployments.cli.interrupts import held_interrupts, was_interrupted


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_waits_for_the_pause_and_does_not_sleep_through_it():
    done = []
    with held_interrupts() as pause:
        pause(0)
        press_ctrl_c()
        done.append("the step")
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            pause(3600)
    assert done == ["the step"]
    assert time.monotonic() - started < 10


def test_ctrl_c_in_the_pause_ends_it():
    def press(_number: int, _frame: object) -> None:
        press_ctrl_c()

    before = signal.signal(signal.SIGALRM, press)
    try:
        with held_interrupts() as pause:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                pause(3600)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_second_ctrl_c_does_not_wait():
    with held_interrupts():
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_afterwards_ctrl_c_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with held_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_that_ctrl_c_caused_is_told_from_others():
    def break_off(*, by_ctrl_c: bool) -> None:
        try:
            raise KeyboardInterrupt if by_ctrl_c else ValueError
        except BaseException:
            try:
                raise OSError("no connection")
            except OSError as error:
                raise RuntimeError("the database did not answer") from error

    with pytest.raises(RuntimeError) as caught:
        break_off(by_ctrl_c=True)
    assert was_interrupted(caught.value)
    with pytest.raises(RuntimeError) as caught:
        break_off(by_ctrl_c=False)
    assert not was_interrupted(caught.value)
