"""Evidence that is read once and kept as text: the same as read from the bytes, whatever these are."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.manifest import read_anchors
from quality.evidence.original import READER, OriginalReader, fields_in, model_of, version_of
from quality.images.convert import Target, convert
from quality.scorers.batch import PairBatch
from quality.scorers.evidence import FIELDS, Evidence, StoredEvidence
from tests.conftest import SOAK
from tests.scoring import sample_pairs
from tests.trust.labelled import labelled, trust_list


@pytest.fixture(scope="module")
def anchors(tmp_path_factory):
    return trust_list(tmp_path_factory.mktemp("trust"))


@pytest.fixture(scope="module")
def reader(anchors) -> OriginalReader:
    return OriginalReader(read_anchors(anchors))


def stored(*texts: str | None):
    batch = PairBatch([None] * len(texts), [None] * len(texts))
    batch.add_columns({"evidence": pa.array(texts, pa.string())})
    scorer = StoredEvidence("metadata")
    scorer.load()
    return scorer.score(batch)


def test_the_labelled_set_and_drawings_read_the_same_either_way(anchors, reader):
    files = [item.make() for item in labelled()] + [data for _, data in sample_pairs(40)] + [b"junk"]
    scorer = Evidence(anchors)
    scorer.load()
    fresh = scorer.score(PairBatch([None] * len(files), files))
    assert stored(*(reader.read(data) for data in files)).equals(fresh)
    assert fresh["watermark"].null_count < len(files) and {"trusted", "invalid", "none"} <= set(fresh["c2pa"].to_pylist())


def test_pixels_that_others_decoded_say_the_same(reader):
    """Whole, halved, and of other scales, as converting to stored sizes decodes them."""
    marked = [item.make() for item in labelled() if item.name.startswith("watermark")]
    found = set()
    for data in marked:
        for size in (64, 200, 256, 400, 2000):
            pixels = []
            convert(data, Target(size=size, format="png"), decoded=pixels.append)
            assert reader.read(data, next(iter(pixels), None)) == reader.read(data)
            found |= {image.shape for image in pixels}
    assert len(found) > 3, "decoded at several scales"


def test_what_was_not_read_is_not_none():
    assert stored(None, '{"c2pa":"none","gps":false}').to_pylist() == [
        dict.fromkeys(FIELDS.names),
        dict.fromkeys(FIELDS.names) | {"c2pa": "none", "gps": False},
    ]


def test_the_text_names_its_reader(anchors, reader):
    told = json.loads(reader.read(b"junk"))
    text = read_anchors(anchors)
    assert told == {"c2pa": "none", "camera_fields": 0, "gps": False, READER: version_of(text)}
    assert (
        version_of(text).startswith(model_of(text) + "@") and model_of(text).startswith("metadata+trust-") and model_of(None) == "metadata"
    )
    assert fields_in(json.dumps(told)) == {"c2pa": "none", "camera_fields": 0, "gps": False} and fields_in(None) == {}


@settings(max_examples=5_000 if SOAK else 100, deadline=None)
@given(data=st.data())
def test_damaged_files_never_raise(reader, data):
    files = {item.name: item for item in labelled()}
    whole = bytearray(files[data.draw(st.sampled_from([*files]))].make())
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, min(len(whole), 3000) - 1))
        whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    read = stored(reader.read(bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2, 100]))])))
    assert read["c2pa"][0].as_py() in ("none", "trusted", "untrusted", "invalid", "unreadable")
