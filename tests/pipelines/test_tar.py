"""The tar writer: what tarfile reads is what was added, the digest is the file's, and nothing depends on time or machine."""

import hashlib
import tarfile
import tempfile
from pathlib import Path

import pytest

from pipelines.tar import BUFFER, MAX_SIZE, TarWriter, _header

MEMBERS = [
    ("empty", b""),
    ("block.jpg", b"b" * 512),
    ("그림.json", b"j" * 513),
    ("n" * 100, b"x"),
    ("as the buffer", bytes(range(256)) * (BUFFER // 256)),
    ("larger than three buffers", bytes(range(251)) * (3 * BUFFER // 251 + 9)),
    ("last", b"l"),
]


def write(path: Path, members: list[tuple[str, bytes]], *, cached: bool = True) -> tuple[str, list[int]]:
    with TarWriter(path, cached=cached) as tar:
        offsets = [tar.add(name, data) for name, data in members]
    return tar.close(), offsets


@pytest.mark.parametrize("fill", [0, 1, BUFFER - 1024, BUFFER - 512, BUFFER])
def test_tarfile_reads_it_back(tmp_path, fill):
    members = [("fill", b"f" * fill), *MEMBERS]
    digest, offsets = write(tmp_path / "a.tar", members)
    data = (tmp_path / "a.tar").read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) % 10240 == 0
    with tarfile.open(tmp_path / "a.tar", errorlevel=2) as tar:
        found = tar.getmembers()
        assert [(member.name, tar.extractfile(member).read()) for member in found] == members
        assert [member.offset_data for member in found] == offsets
        assert {(member.mode, member.mtime, member.uid, member.gid, member.uname, member.type) for member in found} == {
            (0o644, 0, 0, 0, "", b"0")
        }
    assert [data[offset : offset + len(content)] for offset, (_, content) in zip(offsets, members, strict=True)] == [d for _, d in members]


def test_an_empty_tar_is_one(tmp_path):
    write(tmp_path / "a.tar", [])
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getmembers() == []


def test_the_same_members_give_the_same_bytes(tmp_path):
    assert write(tmp_path / "a.tar", MEMBERS) == write(tmp_path / "b.tar", MEMBERS)
    assert write(tmp_path / "c.tar", MEMBERS[::-1])[0] != write(tmp_path / "a.tar", MEMBERS)[0]


@pytest.mark.parametrize("folder", [None, "/dev/shm"], ids=["a disk", "memory, which has no O_DIRECT"])
def test_bytes_that_go_past_the_page_cache_are_the_same(tmp_path, folder):
    with tempfile.TemporaryDirectory(dir=folder) as elsewhere:
        assert write(Path(elsewhere, "a.tar"), MEMBERS, cached=False) == write(tmp_path / "b.tar", MEMBERS)
        assert Path(elsewhere, "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("name", ["n" * 101, "그" * 34, "", "a\0b"])
def test_names_that_no_header_holds_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="tar member"), TarWriter(tmp_path / "a.tar") as tar:
        tar.add(name, b"")


def test_a_size_that_no_header_holds_is_refused():
    assert tarfile.TarInfo.frombuf(_header("a", MAX_SIZE), "utf-8", "strict").size == MAX_SIZE
    with pytest.raises(ValueError, match="at most"):
        _header("a", MAX_SIZE + 1)


def test_an_exception_goes_through_and_leaves_no_whole_tar(tmp_path):
    with pytest.raises(RuntimeError, match="ours"), TarWriter(tmp_path / "a.tar") as tar:
        tar.add("a", b"data")
        raise RuntimeError("ours")
    assert not tarfile.is_tarfile(tmp_path / "a.tar")
