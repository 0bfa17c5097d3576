"""What a process of its own computes is what the call would have returned, whatever becomes of that process."""

import os
import signal
import time

import pytest

from core import aside
from core.aside import Aside


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(aside, "cores", lambda: 2)


def test_a_call_in_another_process_returns_what_it_returns_here():
    assert Aside(divmod_of, 17, 5).result() == (3, 2)
    assert Aside(process).result() != os.getpid()
    assert Aside(threads, threads=3).result() == "3"


def test_what_the_function_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        Aside(divmod_of, 1, 0).result()


def test_a_lost_process_is_done_without():
    call = Aside(process)
    assert call.process
    os.kill(call.process.pid, signal.SIGKILL)
    assert call.result() == os.getpid()


def test_a_process_that_cannot_be_started_is_done_without(monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(aside.subprocess, "Popen", refused)
    assert Aside(process).result() == os.getpid()


def test_what_it_prints_is_no_part_of_the_answer():
    assert Aside(printing).result() == 1


def divmod_of(a: int, b: int) -> tuple[int, int]:
    return divmod(a, b)


def process() -> int:
    time.sleep(0.3)
    return os.getpid()


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def printing() -> int:
    print("not an answer")
    return 1
