"""A disk that fills up in the middle of a step, and one that nothing can be written to: told clearly, and the same command goes on."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import SOAK, Done, digests, ingest, web_flags


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """(a file system of its own, a function that mounts it anew with other options)."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("not run: mounting a small file system takes rights that this process lacks")
    try:
        yield place, lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True) and None
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_wherever_it_fills_up_and_the_same_command_goes_on(done: Done, disk):
    """300 KB: within fetching; 600: scoring; 1,200 and 1,500: select and shard, as the sample's sizes are now."""
    place, remount = disk
    told = []
    for size in (300, 600, 1_200, 1_500) if SOAK else (600, 1_500):
        remount(f"size={size}k")
        done.web.reset()
        run = ingest("--dataset", place / "data", *web_flags(done.web))
        told.append(run.stderr.strip().splitlines()[-1] if run.returncode == 2 else "")
        assert run.returncode == 2, (size, run.stdout, run.stderr)
        assert "Traceback" not in run.stdout + run.stderr
    assert all("No space left on device; make room and run the same command again" in line for line in told), told
    assert len({line.partition("/data/")[2].partition("/")[0] for line in told}) > 1, "more than one step met the full disk"
    remount("size=20m")
    done.web.reset()
    run = ingest("--dataset", place / "data", *web_flags(done.web))
    assert run.returncode == 0, run.stdout + run.stderr
    assert digests(place / "data") == digests(done.root)
    assert ingest("--dataset", place / "data", module="pipelines.sweep").returncode == 0
    assert not list(place.rglob("*#*"))


def test_a_full_folder_for_temporary_files_is_told_as_what_it_is(done: Done, disk, tmp_path: Path):
    place, remount = disk
    remount("size=40k")
    done.web.reset()
    run = ingest("--dataset", tmp_path / "data", *web_flags(done.web), env={**os.environ, "TMPDIR": str(place)})
    assert run.returncode == 2, run.stdout + run.stderr
    assert f"no space left on device, in {place} it seems; make room, or set TMPDIR" in run.stderr


def test_a_target_that_cannot_be_written_to_is_told_at_once(done: Done, disk):
    place, remount = disk
    remount("ro")
    run = ingest("--dataset", place / "data", *web_flags(done.web))
    assert run.returncode == 2 and run.stdout == ""
    assert f"cannot write to {place / 'data'}: {place}: Read-only file system; give another --dataset or mend its rights" in run.stderr
