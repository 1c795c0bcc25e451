"""A function in a process of its own: what it gives, what it raises, and what is left when it dies."""

import ctypes
import os
import time
from contextlib import closing

import pytest

from pipelines.apart import Apart, Died


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
