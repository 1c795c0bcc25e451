"""Columns against lists, beside the plain way to ask the same."""

import numpy as np
import pyarrow as pa
import pytest

from quality.columns.caption import normalised_caption
from quality.listed import is_listed, is_near
from quality.near.listed import NearList
from quality.rules import Rules
from schemas.policy import PolicyError, parse_policy
from schemas.value_lists import find_list


def strings(*values) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values[:1], pa.string()), pa.array(values[1:], pa.string())])


def flipped(hash_: bytes, bits) -> bytes:
    found = np.unpackbits(np.frombuffer(hash_, np.uint8))
    found[list(bits)] ^= 1
    return np.packbits(found).tobytes()


def hash_list(tmp_path, lines):
    (tmp_path / "hashes.txt").write_text("\n".join(lines), "utf-8")
    return find_list(tmp_path / "hashes.txt")


def test_ids_with_equal_upper_halves_and_values_that_are_no_ids(tmp_path):
    a, b, c = "1" * 16 + "2" * 16, "1" * 16 + "3" * 16, "1" * 16 + "4" * 16
    (tmp_path / "ids.txt").write_text(f"{c}\n{a}", "utf-8")
    found = is_listed(strings(a, None, b, "x", c, "f" * 32), find_list(tmp_path / "ids.txt"))
    assert found.tolist() == [True, False, False, False, True, False]
    assert is_listed(strings(None, None), find_list(tmp_path / "ids.txt")).tolist() == [False, False]


def test_captions_are_compared_normalised(tmp_path):
    (tmp_path / "captions.txt").write_text("A  Cat\nStraße\nｶﾞ", "utf-8")
    column = strings("a cat ", "A\tCAT", "strasse", "ガ", "a cats", None, "")
    listed = is_listed(pa.chunked_array([normalised_caption(column.combine_chunks())]), find_list(tmp_path / "captions.txt"), captions=True)
    assert listed.tolist() == [True, True, True, True, False, False, False]
    assert not is_listed(column, find_list(tmp_path / "captions.txt")).any(), "other columns are compared as they are"


def test_every_hash_to_distance_31_and_none_beyond(tmp_path):
    rng = np.random.default_rng(0)
    listed = [rng.bytes(32) for _ in range(300)]
    rows, expected = [], []
    for distance in (0, 1, 15, 16, 30, 31, 32, 40):
        for _ in range(300):
            near = flipped(listed[rng.integers(300)], rng.choice(256, distance, replace=False))
            rows.append(near)
            expected.append(distance <= 31)
    # Two flips in every band but one of the first 15 are the worst that 31 can do.
    rows.append(flipped(listed[0], [16 * band + bit for band in range(15) for bit in (0, 1)] + [255]))
    expected.append(True)
    column = pa.chunked_array([pa.array(rows, pa.binary(32))])
    found = is_near(column, np.ones(len(rows), bool), hash_list(tmp_path, [hash_.hex() for hash_ in listed]))
    assert found.tolist() == expected


def test_only_rows_that_are_looked_at_and_slices_of_columns(tmp_path):
    hash_ = bytes(range(32))
    column = pa.chunked_array([pa.array([b"\xff" * 32, hash_, None, hash_], pa.binary(32)).slice(1)])
    found = is_near(column, np.array([True, False, False]), hash_list(tmp_path, [hash_.hex()]))
    assert found.tolist() == [True, False, False]
    assert is_near(column, np.array([False, False, True]), hash_list(tmp_path, [hash_.hex().upper()])).tolist() == [False, False, True]
    assert not is_near(column, np.zeros(3, bool), hash_list(tmp_path, [hash_.hex()])).any()


def test_listed_hashes_of_low_quality_count_for_nothing(tmp_path):
    good, bad = bytes(32), b"\xff" * 32
    values = hash_list(tmp_path, [good.hex() + ",50", bad.hex() + ",49"])
    column = pa.chunked_array([pa.array([good, bad], pa.binary(32))])
    assert is_near(column, np.ones(2, bool), values).tolist() == [True, False]


@pytest.mark.parametrize(
    ("line", "message"), [("abc", "no PDQ hash"), ("0" * 64 + ",high", "no PDQ hash"), ("0" * 64 + ",1", "quality 50")]
)
def test_lines_that_are_no_hash(tmp_path, line, message):
    with pytest.raises(PolicyError, match=message):
        is_near(pa.chunked_array([pa.array([bytes(32)], pa.binary(32))]), np.ones(1, bool), hash_list(tmp_path, [line]))


def test_a_policy_with_such_a_list_is_refused_before_anything_is_fetched(tmp_path):
    (tmp_path / "hashes.txt").write_text("abc", "utf-8")
    rule = '[[rule]]\ncolumn = "image.pdq"\nnot_near_file = "hashes.txt"\nreason = "leak:picture"\n'
    policy = parse_policy(f'name = "p"\n{rule}', where="p", folder=tmp_path)
    with pytest.raises(PolicyError, match="'abc' is no PDQ hash"):
        Rules(policy)


def test_one_hash_and_no_rows():
    assert NearList(np.zeros((1, 32), np.uint8)).near(np.zeros((0, 32), np.uint8)).tolist() == []
