"""One copy of the models for all processes: same scores, whoever dies."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.steps import shared_models, slots
from pipelines.steps.score_units import ScoreUnits
from pipelines.steps.sent_arrays import Outbox, received
from pipelines.steps.shared_models import SharedModels
from quality.engines import EngineError, Run, Tower, start, started_by
from quality.scorers.batch import PairBatch
from quality.scorers.image import Image
from quality.scorers.protocol import info_of
from schemas.columns import field
from schemas.pool import Pool
from schemas.units import Pass
from tests.conftest import SOAK
from tests.scoring import cache_folder, drawn_pairs, encoded, put_unit

torch.set_num_threads(1)
UNIT = "0123456789abcdef-00000"
ENGINE = "torch-f32"  # one that may run Python, and so end its process when it is told to
KILLER = 255


class Brightness(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = torch.nn.Linear(16 * 16 * 3, 4)

    def forward(self, x):
        if bool((x == KILLER).all(dim=1).any()) and os.environ.get("WHITE_KILLS"):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x / 255)


class Bright:
    """A user's scorer with a model."""

    name, version, needs, side = "bright", "1", (), 512
    fields = pa.schema([field("first", pa.float32(), meaning="of four", range=(None, None))])

    def __getstate__(self):
        return {}

    def towers(self):
        return [
            Tower(
                name="bright.image",
                digest="b" * 8,
                rows=8,
                probe=lambda: [np.zeros((8, 768), np.float32)],
                error=lambda found, reference: 0.0,
                bound=1.0,
                module=lambda: Brightness().eval(),
                cache=cache_folder(),
            )
        ]

    def load(self):
        self.run = start(self.towers()[0], ENGINE)

    def score(self, batch):
        small = [
            np.zeros((16, 16, 3)) if i is None else cv2.resize(i, (16, 16), interpolation=cv2.INTER_AREA) for i in batch.pixels(side=512)
        ]
        inputs = np.stack(small).reshape(-1, 768).astype(np.float32)
        return pa.record_batch([pa.array(self.run(inputs)[:, 0])], schema=self.fields)


@pytest.fixture(autouse=True)
def meeting_place(tmp_path, monkeypatch):
    """No other test's models are found."""
    monkeypatch.setattr(shared_models.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def chunk():
    pairs = drawn_pairs()
    return PairBatch([caption for caption, _ in pairs], [data for _, data in pairs])


def loaded(sharing):
    """(the models, a scorer that runs on them)"""
    models, scorer = SharedModels([Bright()], sharing), Bright()
    with started_by(models.start):
        scorer.load()
    return models, scorer


def client():
    """Another process: says who has its models and what they gave, then waits until it is ended."""
    models, scorer = loaded("machine")
    print(models.pid(), scorer.score(chunk()).column(0).to_pylist(), flush=True)
    sys.stdin.read()


@pytest.fixture
def another():
    """Starts another process that asks for the models; returns it, who has them, and what they gave."""
    started = []

    def start_client():
        code = "from tests.pipelines.test_shared_models import client; client()"
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        pid, _, numbers = process.stdout.readline().partition(" ")
        return process, int(pid), eval(numbers)

    yield start_client
    for process in started:
        process.kill()
        process.communicate()


def test_one_copy_same_scores_and_whoever_ends_is_replaced(another):
    alone = loaded("process")[1].score(chunk()).column(0).to_pylist()
    owner, first, numbers = another()
    assert numbers == alone and first not in (owner.pid, os.getpid())

    models, scorer = loaded("machine")
    assert models.pid() == first
    assert scorer.score(chunk()).column(0).to_pylist() == alone
    with pytest.raises(EngineError, match="unknown engine 'tensorrt'"):
        models.start(Bright().towers()[0], "tensorrt")

    owner.kill()  # who started the process that has the models, and takes it along
    assert scorer.score(chunk()).column(0).to_pylist() == alone
    second = models.pid()
    assert second not in (first, os.getpid()) and ended(first)

    os.kill(second, signal.SIGKILL)
    with ThreadPoolExecutor(2) as executor:  # threads that find it gone at the same time start one, not two
        given = list(executor.map(lambda _: models._ask("pid"), range(2)))
    assert len(set(given)) == 1 and given[0] != second
    assert scorer.score(chunk()).column(0).to_pylist() == alone


def ended(pid, seconds=20):
    for _ in range(seconds * 10):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not SOAK, reason="not run: starts seven processes with models, 30 s of a core; PIGMENT_SOAK=1")
def test_a_pair_that_ends_the_models_costs_that_pair_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WHITE_KILLS", "1")
    pool = Pool(tmp_path / "data")
    white = ("white", encoded(np.full((600, 600, 3), KILLER, np.uint8), ".png"))
    put_unit(pool, UNIT, [*drawn_pairs()[:2], white, drawn_pairs()[2]])
    scorers = [Image(), Bright()]
    pass_ = Pass.of([info_of(scorer) for scorer in scorers])
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([UNIT]) | ScoreUnits(pool, scorers, pass_, threads=1, sharing="machine")
    found = pool.read_scores(pass_.name, UNIT).to_pylist()
    assert ["crashed" in (row["image.error"] or "") for row in found] == [False, False, True, False]
    wanted = loaded("process")[1].score(chunk()).column(0).to_pylist()
    assert [row["bright.first"] for row in found[:2] + found[3:]] == wanted[:3]


def test_on_the_cpu_each_process_has_its_own_unless_told():
    for sharing in ("auto", "process"):
        models, scorer = loaded(sharing)
        assert isinstance(scorer.run, Run) and models._server is None
    with pytest.raises(ValueError, match="shared by auto, machine, process, not 'gpu'"):
        SharedModels([Bright()], "gpu")


def test_arrays_arrive_whole_and_their_room_grows():
    outbox = Outbox()
    for array in (np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(40_000.0).reshape(4, -1), np.arange(6), np.zeros((0, 3))):
        sent = outbox.put(array)
        with received(sent) as found:
            assert found.dtype == array.dtype and np.array_equal(found, array)
            found[...] = 1  # as torch may; the sender's stays
        with received(sent) as found:
            assert sent.array is not None or np.array_equal(found, array)


def test_processes_take_turns(tmp_path):
    take = slots.slot_of.__wrapped__  # each opens the files itself, as another process does
    assert [take(tmp_path), take(tmp_path), take(tmp_path)] == [0, 1, 2]
    slots._held[-2].close()  # what the system does when a process ends
    assert [take(tmp_path), take(tmp_path)] == [1, 3]
    assert slots.slot_of(tmp_path) == slots.slot_of(tmp_path) == 4


def test_others_cannot_come_between(tmp_path):
    folder = shared_models._private_folder()
    assert folder.is_relative_to(tmp_path) and folder.stat().st_mode & 0o077 == 0
    key = shared_models._key(folder)
    assert len(key) == 32 and shared_models._key(folder) == key and (folder / "key").stat().st_mode & 0o077 == 0
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="can be entered by others"):
        shared_models._private_folder()
