"""Temporary folders of killed processes go; those of living ones stay."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from schemas.scratch import Scratch, sweep
from tests.conftest import ROOT

_HOLD = "from schemas.scratch import Scratch\nhere = Scratch('fetch')\n(here.path / 'part').write_bytes(b'x')\nprint(here.path, flush=True)\ninput()"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A temporary folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holding(own: Path) -> tuple[subprocess.Popen, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD], cwd=ROOT, env={**os.environ, "TMPDIR": str(own)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_gone_after_its_block():
    with Scratch("what") as folder:
        (folder / "a").write_bytes(b"x")
        assert folder.name.startswith("pigment-scratch-what-")
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_stays(own):
    others = own / "pigment-bench-x"
    others.mkdir()
    with Scratch() as mine:
        living, its = holding(own)
        assert sweep() == [] and its.is_dir() and mine.is_dir()
        living.send_signal(signal.SIGKILL)
        living.wait()
        assert its.is_dir()
        assert sweep() == [str(its)]
        assert not its.exists() and mine.is_dir() and others.is_dir()
