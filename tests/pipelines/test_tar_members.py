"""Members of tars: what tarfile lists, at the offsets it lists, and every damage told."""

import io
import tarfile

import numpy as np
import pytest

from pipelines.sources.formats import SourceError
from pipelines.sources.rows import source_table
from pipelines.sources.tar_members import members_of
from pipelines.sources.tars import TarReader
from tests.conftest import SOAK
from tests.tars import sample, write_tar

LONG = "a/" + "long-name" * 40 + ".jpg"
MEMBERS = [*sample("0001", 1), ("dir/0002.png", b"x" * 700), (LONG, b"y"), ("고양이.txt", "고양이".encode()), ("empty.txt", b"")]


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("mtime", [0, 1234567890.25])
def test_lists_what_tarfile_lists(tmp_path, kind, mtime):
    path = write_tar(tmp_path / "a.tar", MEMBERS, kind=kind, mtime=mtime)
    found = members_of(path)
    with tarfile.open(path) as tar:
        assert [(member.name, member.offset, member.size) for member in found.found] == [
            (info.name, info.offset_data, info.size) for info in tar.getmembers()
        ]
    assert found.damage is None and not any(member.cut for member in found.found)
    assert [path.read_bytes()[member.offset :][: member.size] for member in found.found] == [data for _, data in MEMBERS]


def test_links_folders_and_a_prefix_are_known(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, size in [("d", tarfile.DIRTYPE, 0), ("l.jpg", tarfile.SYMTYPE, 0), ("p" * 90 + "/" + "n" * 80, tarfile.REGTYPE, 3)]:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, size, "elsewhere"
            tar.addfile(info, io.BytesIO(bytes(size)))
    found = members_of(tmp_path / "a.tar")
    assert [member.name for member in found.found] == ["p" * 90 + "/" + "n" * 80] and found.damage is None


def test_a_second_tar_behind_the_first_is_read(tmp_path):
    one, two = (write_tar(tmp_path / f"{key}.tar", sample(key, 1)).read_bytes() for key in ("a", "b"))
    (tmp_path / "both.tar").write_bytes(one + two)
    found = members_of(tmp_path / "both.tar")
    assert [member.name for member in found.found] == ["a.jpg", "a.txt", "b.jpg", "b.txt"] and found.damage is None


@pytest.mark.parametrize("cut", range(0, 10240, 97))
def test_a_tar_cut_anywhere_loses_no_member_in_silence(tmp_path, cut):
    whole = write_tar(tmp_path / "a.tar", [*sample("a", 1), *sample("b", 2)]).read_bytes()
    end = members_of(tmp_path / "a.tar").found[-1]
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[:cut])
    if cut < 512:
        with pytest.raises(SourceError, match=r"is empty|is no tar"):
            members_of(path)
        return
    found = members_of(path)
    lost = end.offset + end.size > cut
    assert (found.damage is not None) == (cut < end.offset + 512 + 512)  # one block of zeros is an end mark
    assert [member.cut for member in found.found].count(True) <= 1
    assert len(found.found) == 4 or (lost and found.damage is not None)
    assert all(member.cut == (member.offset + member.size > cut) for member in found.found)


def test_a_spoilt_header_is_told_where_tarfile_ends_in_silence(tmp_path):
    path = write_tar(tmp_path / "a.tar", [*sample("a", 1), *sample("b", 2)])
    data = bytearray(path.read_bytes())
    third = members_of(path).found[2].offset - 512
    data[third + 3] ^= 0xFF
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 2, "tarfile says nothing"
    found = members_of(path)
    assert len(found.found) == 2 and found.damage == f"there is no whole tar header at byte {third:,}"


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"\x1f\x8b\x08\0", r"compressed \(gzip\)"), (b"no tar" * 200, "is no tar")]
)
def test_what_is_no_tar_is_told(tmp_path, data, message):
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(SourceError, match=message):
        members_of(tmp_path / "a.tar")


def test_the_digest_sees_names_lengths_times_and_texts(tmp_path):
    def digest(members, **more):
        return members_of(write_tar(tmp_path / "a.tar", members, **more)).digest

    first = digest(sample("a", 1, "cat"))
    assert digest(sample("a", 1, "cat")) == first, "and no clock"
    assert len({first, digest(sample("b", 1, "cat")), digest(sample("a", 1, "dog")), digest(sample("a", 1, "cat"), mtime=1)}) == 4


def test_lengths_that_lie_cost_nothing(tmp_path):
    for name, size in (("a.json", 8**11 - 1), ("a.jpg", 8**11 - 1)):
        info = tarfile.TarInfo(name)
        info.size = size
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + b"{}")
        found = members_of(tmp_path / "a.tar")
        assert [member.cut for member in found.found] == [True] and found.damage == f"it ends at byte 514, within {name}"
    for kind in (b"x", b"L"):
        info = tarfile.TarInfo("a")
        info.type, info.size = kind, 8**11 - 1
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(2000))
        assert members_of(tmp_path / "a.tar").damage == "the extended header at byte 0 is cut off or too long"


def test_mutated_tars_give_rows_or_a_clear_error(tmp_path):
    """Bits flipped, bytes set, pieces cut out, doubled and exchanged: the reader and the rows above it raise nothing but SourceError."""
    whole = write_tar(tmp_path / "a.tar", [*MEMBERS, *sample("0003", 3, "c", url="http://a.test/", n=1)], mtime=1.5).read_bytes()
    path, random = tmp_path / "spoilt.tar", np.random.default_rng(7)
    told = 0
    for _ in range(3_000 if SOAK else 300):
        data = bytearray(whole)
        for _ in range(int(random.integers(1, 4))):
            at, length = int(random.integers(0, len(data))), int(random.integers(1, 1200))
            kind = random.integers(0, 5)
            if kind == 0:
                data[at] ^= 1 << int(random.integers(0, 8))
            elif kind == 1:
                data[at : at + 12] = bytes(random.integers(0, 256, 12, np.uint8))
            elif kind == 2:
                del data[at : at + length]
            elif kind == 3:
                data[at:at] = data[at : at + length]
            else:
                header = at // 512 * 512  # a length with a right checksum, as only who writes it can lie
                block = bytearray(data[header : header + 512])
                if len(block) == 512 and block[257:262] == b"ustar":
                    block[124:136] = b"%011o\0" % int(random.integers(0, 8**11))
                    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
                    data[header : header + 512] = block
        path.write_bytes(data)
        try:
            reader = TarReader(tmp_path, path.name, beside=None)
        except SourceError:
            told += 1
            continue
        found = reader.read(0, reader.rows)
        assert len(found.places) == len(found.rows.lines) == reader.rows
        source_table(found.rows, {})
        assert all(place is None or place.offset + place.size <= len(data) for place in found.places)
    assert told < 100 or SOAK
