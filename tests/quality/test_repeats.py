"""caption.repeats: what counts as the same caption, over units in any order."""

import pyarrow as pa

from quality.repeats import column_of, fingerprints_of, repeats_of

CAPTIONS = {
    "u-1": ["A  cat", None, "ﬁne", "", "alone"],  # a ligature: NFKC makes two letters of it
    "u-0": ["a CAT ", "fine", "a cat", None, ""],
}


def counted(names: list[str]) -> dict[str, list[int | None]]:
    batches = [fingerprints_of(name, pa.chunked_array([CAPTIONS[name]], pa.string())) for name in names]
    found = dict(repeats_of(batches))
    return {
        name: column_of(pa.chunked_array([rows]), [found[name]] if name in found else []).to_pylist() for name, rows in CAPTIONS.items()
    }


def test_equal_captions_count_over_units_and_missing_ones_are_null():
    expected = {"u-1": [3, None, 2, 2, 1], "u-0": [3, 2, 3, None, 2]}
    assert counted(["u-0", "u-1"]) == counted(["u-1", "u-0"]) == expected


def test_units_without_captions_or_repeats():
    none = fingerprints_of("u-2", pa.chunked_array([[None, None]], pa.string()))
    assert none.num_rows == 0 and list(repeats_of([none])) == []
    assert column_of(pa.chunked_array([["x", None]], pa.string()), []).to_pylist() == [1, None]
