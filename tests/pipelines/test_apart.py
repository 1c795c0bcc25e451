"""A function in a process of its own: what it gives, what it raises, and what is left when it dies."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest

from pipelines.apart import Apart, Died
from tests.conftest import ROOT


def adding(one: int):
    return lambda given: one + given


def dying(seconds: float):
    def function(given: str) -> tuple[str, int]:
        if given == "crash":
            ctypes.string_at(0)
        if given == "exit":
            os._exit(3)
        if given == "hang":
            time.sleep(seconds)
        if given == "raise":
            raise KeyError(given)
        return given, os.getpid()

    return function


def never():
    ctypes.string_at(0)


def test_it_gives_what_the_function_gives():
    with closing(Apart(adding, 40, seconds=60)) as child:
        assert [child(number) for number in range(3)] == [40, 41, 42]
        with pytest.raises(TypeError):
            child("2")
        assert child(2) == 42


@pytest.mark.parametrize(("given", "how"), [("crash", "signal 11"), ("exit", "exit status 3"), ("hang", "no answer in 2 s")])
def test_it_dies_and_the_next_call_has_another(given, how):
    with closing(Apart(dying, 60.0, seconds=2)) as child:
        first = child("a")
        assert first[0] == "a" and first[1] != os.getpid()
        assert child("b") == ("b", first[1])
        with pytest.raises(Died, match=how):
            child(given)
        with pytest.raises(KeyError, match="raise"):
            child("raise")
        again = child("c")
        assert again[0] == "c" and again[1] != first[1]
    with pytest.raises(ProcessLookupError):
        os.kill(again[1], 0)


def test_a_function_that_cannot_be_made_is_nobodys_fault():
    with closing(Apart(never, seconds=60)) as child, pytest.raises(RuntimeError, match="could not be started \\(signal 11\\)"):
        child(1)


PARENT = """
import ctypes, os, signal, time
from pipelines.apart import Apart
from tests.pipelines.test_apart import stuck
signal.signal(signal.SIGINT, lambda *_: None)
child = Apart(stuck, seconds=60)
print(child(0.0), flush=True)
print(child({seconds}), flush=True)
"""


def stuck():
    """Native code that lets no other thread run; then the process's number."""
    return lambda seconds: ctypes.PyDLL(None).usleep(int(1e6 * seconds)) or os.getpid()


def parent(seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PARENT.format(seconds=seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_terminals_interrupt_is_the_parents_alone():
    with parent(1.5) as process:
        assert process.stdout is not None
        child = process.stdout.readline()
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == child


def test_it_does_not_outlive_a_parent_that_is_killed():
    with parent(60) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        time.sleep(0.5)
        assert runs(child)
        process.kill()
    until = time.monotonic() + 5
    while runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    try:
        assert not runs(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
