"""Identity, digests, words and the wire."""

import hashlib
import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas.wire
from schemas.columns import carried_name, field, range_of, uid_of
from schemas.digest import digest_of_table
from schemas.reasons import FETCH_STATUSES, REASONS, check_reason, reason_of_fetch, reason_text


def test_uid_is_over_length_prefixed_parts():
    parts = b"".join(len(part).to_bytes(8, "big") + part for part in (b"http://a/1", b"x"))
    assert uid_of(url="http://a/1", sha256=None, caption="x") == hashlib.sha256(parts).hexdigest()[:32]
    assert uid_of(url="ab", sha256=None, caption="c") != uid_of(url="a", sha256=None, caption="bc")
    assert uid_of(url="a", sha256="1", caption="\u00e9") == uid_of(url="a", sha256="2", caption="e\u0301"), (
        "NFC, and a url hides the digest"
    )
    assert uid_of(url=None, sha256="1", caption="c") != uid_of(url=None, sha256="2", caption="c")


def test_every_fetch_outcome_has_a_reason():
    for status in set(FETCH_STATUSES) - {"success", "invalid"}:
        assert reason_text(reason_of_fetch(status, "")) == FETCH_STATUSES[status]
    for word in REASONS["source"]:
        assert reason_of_fetch("invalid", word) == f"source:{word}"
    with pytest.raises(ValueError, match="unknown reason"):
        check_reason("image:ugly")


def test_a_slice_crosses_the_wire_without_its_parent():
    batch = pa.record_batch({"a": np.arange(1_000_000), "s": ["x"] * 1_000_000}).slice(500_000, 10)
    data = pickle.dumps(batch)
    assert len(data) < 5_000 and pickle.loads(data).equals(batch)
    assert schemas.wire.batch_from_bytes(schemas.wire.batch_to_bytes(batch)).equals(batch)


def test_ranges_and_names():
    assert range_of(field("a", pa.float32(), meaning="m", range=(0, None))) == (0.0, None)
    assert range_of(field("a", pa.float32(), meaning="m")) == (None, None)
    assert carried_name("width") == "source.width" and carried_name("stars") == "stars"


TYPES = st.sampled_from([pa.int32(), pa.float64(), pa.string(), pa.binary(), pa.bool_(), pa.list_(pa.int64()), pa.list_(pa.string())])


@st.composite
def tables(draw):
    kind = draw(TYPES)
    item = {
        pa.int32(): st.integers(-9, 9), pa.float64(): st.floats(allow_nan=False), pa.string(): st.text(max_size=4),
        pa.binary(): st.binary(max_size=4), pa.bool_(): st.booleans(), pa.list_(pa.int64()): st.lists(st.integers(0, 3), max_size=3),
        pa.list_(pa.string()): st.lists(st.text(max_size=2), max_size=3),
    }[kind]  # fmt: skip
    return draw(st.lists(st.none() | item, max_size=12)), kind


@given(tables(), st.integers(0, 12))
def test_content_digests_do_not_see_chunks_and_see_everything_else(made, cut):
    values, kind = made
    table = pa.table({"a": pa.array(values, kind)})
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    assert digest_of_table(chunked) == digest_of_table(table)
    stored = io.BytesIO()
    pq.write_table(table, stored)
    assert digest_of_table(pq.read_table(stored)) == digest_of_table(table)
    assert digest_of_table(table.rename_columns(["b"])) != digest_of_table(table)
    assert digest_of_table(pa.table({"a": pa.array([*values, None], kind)})) != digest_of_table(table)
    if values and values[0] is not None:
        assert digest_of_table(pa.table({"a": pa.array([None, *values[1:]], kind)})) != digest_of_table(table)
