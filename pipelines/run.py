"""Runs a Beam graph: which runner, in how many processes, with quiet logs."""

import contextlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import Final

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.environment import environment
from pipelines.fetch.failures import TooManyFailures
from pipelines.fetch.img2dataset_fetcher import FetcherError
from pipelines.options import DIRECT_RUNNER, EXIT_BUG, EXIT_FAILURES, EXIT_INTERRUPTED, EXIT_USAGE, UsageError
from pipelines.runners.engine import Engine
from pipelines.shards import ShardError
from pipelines.sources.formats import SourceError
from pipelines.steps.loaded_scorers import ScorerBug
from pipelines.workers import WorkerDied, death_since, deaths
from quality.block_lists import BlockListError
from quality.captioners import CaptionerError
from quality.deepfake import NamesError, ProbeError
from quality.embedded_clip import MissingWeights
from quality.engines import EngineError
from quality.gates import GateFileError
from quality.scorers import ScorerError
from quality.scorers.nsfw_head import HeadError
from schemas.policy import PolicyError
from schemas.release import ReleaseError
from schemas.store import StoreError
from schemas.units import PoolError
from schemas.value_lists import ListError

RUNNING_MODES = ("in_memory", "multi_threading", "multi_processing")


# Workers that shuffle tables take and give back much memory in many threads. With one heap for all threads, which Arrow uses too, a run of
# select over 10,000,000 rows peaked at 1.4 GB in all processes, and at 1.8 without (tests/bench/select.py); it took no more CPU time.
_ONE_HEAP = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}


_HEARD_S: Final = 3.0  # Prism fails a job within milliseconds of a worker's death, before the system has told its parent


def run_graph(
    build: Callable[[beam.Pipeline], object],
    *,
    runner: str,
    mode: str,
    workers: int,
    beam_flags: Sequence[str] = (),
    shuffles: bool = False,
    engine: Engine | None = None,
) -> None:
    """Builds and runs a graph to its end. Raises what a step raised; WorkerDied where a process of this machine's ended by itself.

    runner: "DirectRunner" is Beam's in-process FnApiRunner, pinned (by itself it tries Prism, and to download it); else see Engine.
    mode is the FnApiRunner's. shuffles: whether the graph moves many rows; the workers then start with one heap each.
    engine: of this runner, workers and flags, which other graphs run on too; else one that serves this graph alone.
    """
    with contextlib.ExitStack() as stack:
        if shuffles:
            stack.enter_context(environment(_ONE_HEAP))
        if runner == DIRECT_RUNNER:
            options = PipelineOptions(list(beam_flags))
            direct = options.view_as(DirectOptions)
            direct.direct_running_mode, direct.direct_num_workers = mode, workers
            pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
        else:
            engine = engine or stack.enter_context(Engine(runner, workers=workers, beam_flags=beam_flags))
            name, flags = stack.enter_context(engine.up())
            options = PipelineOptions(flags)
            options.view_as(StandardOptions).runner = name
            pipeline = beam.Pipeline(options=options)
        build(pipeline)
        before = len(deaths)
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:
            # An engine tries again where a worker died, and may fail by something else after it.
            own = _IN_A_WORKER.search(str(error)) is not None
            how = None if own else death_since(before, seconds=0.0 if runner == DIRECT_RUNNER else _HEARD_S)
            if how is not None:
                raise WorkerDied(how) from error
            raise


# Errors whose message is for the user; a worker's arrive as text within another exception.
_USER_ERRORS = (
    UsageError,
    MissingWeights,
    CaptionerError,
    ScorerError,
    ScorerBug,
    HeadError,
    NamesError,
    ProbeError,
    EngineError,
    ShardError,
    FetcherError,
    SourceError,
    BlockListError,
    GateFileError,
    PolicyError,
    PoolError,
    StoreError,
    ListError,
    ReleaseError,
    TooManyFailures,
)
_IN_A_WORKER = re.compile(rf"({'|'.join(error.__name__ for error in _USER_ERRORS)}): (.+?)(?: \[while running|\n|\\n|$)")


# Of the folder for temporary files: what is written to the dataset says so itself (StoreError).
_DISK_FULL: Final = re.compile(r"OSError: .*No space left on device|^\[Errno 28\]")


def command(main: Callable[[], int]) -> int:
    """Runs a command line: errors become one line on stderr that says what to do, and an exit code (options.EXIT_CODES)."""
    try:
        return main()
    except KeyboardInterrupt:
        _complain("interrupted; what is committed stays: the same command goes on from here")
        # Threads of the runner may still wait for workers that the signal ended; nothing of ours is left to be written.
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)
    except WorkerDied as error:
        _complain(f"error: {error}")
        return EXIT_BUG
    except _USER_ERRORS as error:
        _complain(f"error: {error}")
        return _code_of(type(error).__name__)
    except Exception as error:
        found = _IN_A_WORKER.search(str(error))  # first: the text of a StoreError holds what the system said, too
        if found is None and _DISK_FULL.search(str(error)) is not None:
            folder = tempfile.gettempdir()
            _complain(f"error: no space left on device, in {folder} it seems; make room, or set TMPDIR, and run the same command again")
            return EXIT_USAGE
        if found is None:
            traceback.print_exc()
            _complain("this is a bug of pigment or of a scorer; what is committed stays")
            return EXIT_BUG
        _complain(f"error: {found[2]}")
        return _code_of(found[1])


def _code_of(error: str) -> int:
    return EXIT_FAILURES if error == TooManyFailures.__name__ else EXIT_USAGE


def _complain(text: str) -> None:
    sys.stderr.write(f"pigment: {text}\n")
    sys.stderr.flush()
