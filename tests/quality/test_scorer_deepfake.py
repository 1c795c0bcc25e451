"""The scorer: stored columns in, scores out; what travels, what is refused, what is never shown."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from quality.deepfake import BANDS, NamesError, Probe, ProbeError
from quality.deepfake.arithmetic import GROUPS
from quality.deepfake.signals import COLUMNS
from quality.scorers.batch import PairBatch
from quality.scorers.deepfake import Deepfake
from quality.scorers.embed import without_engine

TYPES = {
    "evidence.watermark_agree": pa.float32(), "evidence.camera_fields": pa.int16(), "evidence.gps": pa.bool_(), "faces.count": pa.uint16(),
    "faces.largest_share": pa.float32(), "faces.score": pa.float32(), "image.width": pa.int32(), "image.height": pa.int32(),
}  # fmt: skip
PLAIN = {
    "evidence.c2pa": "none", "evidence.camera_fields": 0, "evidence.gps": False, "faces.count": 0, "faces.largest_share": 0.0,
    "faces.score": 0.0, "image.width": 640, "image.height": 480,
}  # fmt: skip
EMBEDDING = "tiny@12345678;open_clip side512;torch-f32;1"
SECRET = "Ada Example"


def batch_of(*rows, captions=None, embeddings=None):
    batch = PairBatch(captions or [None] * len(rows), [None] * len(rows))
    batch.add_columns({name: pa.array([row.get(name) for row in rows], TYPES.get(name, pa.string())) for name in COLUMNS})
    if embeddings is not None:
        batch.add_columns({"embed.image": pa.array(embeddings, pa.list_(pa.float16()))})
    return batch


def scored(batch, **options):
    scorer = Deepfake(**options)
    scorer.load()
    return scorer.score(batch).to_pylist()


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text(SECRET, "utf-8")
    return path


@pytest.fixture
def probe(tmp_path):
    path = tmp_path / "probe.json"
    path.write_text(Probe(without_engine(EMBEDDING), (10.0, 0.0), 0.0, 1.0, 0.0, 0.5).to_json(), "utf-8")
    return path


def test_rows_belong_to_rows_and_no_bytes_are_null():
    generated = PLAIN | {"evidence.generator": "ComfyUI", "evidence.generator_in": "png:prompt"}
    rows = scored(batch_of({}, generated, PLAIN))
    assert rows[0] == dict.fromkeys(Deepfake.fields.names)
    assert [row["band"] for row in rows[1:]] == ["high", "none"]
    assert rows[1]["synthetic"] == pytest.approx(0.982, abs=1e-4) and rows[2]["synthetic"] == pytest.approx(0.0474, abs=1e-4)
    told = json.loads(rows[1]["evidence"])
    assert told["pieces"] == [
        {"score": "synthetic", "group": "generator", "signal": "generator_metadata", "llr": 7.0, "detail": "ComfyUI in png:prompt",
         "counts": True, "band_without": "none"}
    ]  # fmt: skip
    assert told["no_evidence"] == [group for group in GROUPS if group != "generator"]
    assert json.loads(rows[2]["evidence"]) == {"pieces": [], "no_evidence": list(GROUPS)}


def test_undecodable_bytes_have_evidence_and_no_likeness():
    broken = PLAIN | dict.fromkeys(("faces.count", "faces.largest_share", "faces.score", "image.width", "image.height"))
    (row,) = scored(batch_of(broken | {"evidence.generator": "ComfyUI"}))
    assert (row["likeness"], row["enablement"], row["band"]) == (None, None, "high")


def test_names_raise_likeness_and_are_nowhere(names):
    scorer = Deepfake(person_names=names)
    travelled = pickle.dumps(scorer)
    scorer.load()
    batch = batch_of(PLAIN, PLAIN, captions=[f"{SECRET.upper()}, smiling", "somebody else"])
    found = scorer.score(batch)
    assert [row["likeness"] for row in found.to_pylist()] == [0.5, pytest.approx(0.0474, abs=1e-4)]
    everything = travelled + repr(found.to_pylist()).encode() + scorer.version.encode() + pickle.dumps(scorer)
    for word in SECRET.split():
        assert word.encode() not in everything and word.lower().encode() not in everything.lower().replace(b"examples", b"")
    names.write_text("Somebody Else", "utf-8")
    with pytest.raises(NamesError, match="was changed since the job began"):
        pickle.loads(travelled).load()


def test_the_probe_is_weak_and_null_embeddings_count_nothing(probe):
    rows = scored(batch_of(PLAIN, PLAIN, PLAIN, embeddings=[[1.0, 0.0], [-1.0, 0.0], None]), probe=probe, embedding=EMBEDDING)
    assert [row["band"] for row in rows] == ["review", "none", "none"]
    pieces = [json.loads(row["evidence"])["pieces"] for row in rows]
    assert [[(piece["group"], piece["llr"]) for piece in each] for each in pieces] == [[("probe", 3.5)], [("probe", 0.0)], []]
    assert "probe" in json.loads(rows[2]["evidence"])["no_evidence"]
    assert scored(batch_of(PLAIN, embeddings=[None]), probe=probe, embedding=EMBEDDING)[0]["band"] == "none"


@pytest.mark.parametrize("embedding", [None, "tiny@87654321;open_clip side512;torch-f32;1", "other@12345678;open_clip side512;torch-f32;1"])
def test_a_probe_of_other_embeddings_is_refused(probe, embedding):
    with pytest.raises(ProbeError, match="was fitted on embeddings of tiny@12345678"):
        Deepfake(probe=probe, embedding=embedding)


def test_a_probe_serves_every_engine(probe):
    assert Deepfake(probe=probe, embedding=EMBEDDING.replace("torch-f32", "openvino-bf16")).needs == (*COLUMNS, "embed.image")


def test_the_version_names_all_that_a_score_hangs_on(names, probe):
    versions = {
        Deepfake().version, Deepfake(of=["evidence 1"]).version, Deepfake(of=["evidence 2"]).version, Deepfake(person_names=names).version,
        Deepfake(probe=probe, embedding=EMBEDDING).version,
    }  # fmt: skip
    assert len(versions) == 5 and all(version.startswith("evidence-sum") for version in versions)
    assert Deepfake(of=["x"]).version.startswith("evidence-sum@") and "+probe-" in Deepfake(probe=probe, embedding=EMBEDDING).version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no probe of format"),
        (
            '{"format": "pigment-probe-1", "embedding": "e", "weights": ["x"], "bias": 0, "slope": 1, "offset": 0, "base_rate": 0.5}',
            "missing or unknown",
        ),
        (
            '{"format": "pigment-probe-1", "embedding": "e", "weights": [1], "bias": 0, "slope": 1, "offset": 0, "base_rate": 1}',
            "base rate is not between",
        ),
        ('{"format": "pigment-probe-1", "weights": []}', "missing or unknown"),
    ],
)
def test_files_that_are_no_probe(tmp_path, text, message):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(ProbeError, match=message):
        Deepfake(probe=path, embedding=EMBEDDING)
    with pytest.raises(ProbeError, match="No such file"):
        Deepfake(probe=tmp_path / "none", embedding=EMBEDDING)


def test_bands_are_a_closed_set_whatever_comes():
    generator = np.random.Generator(np.random.PCG64(3))
    choices = {
        "evidence.c2pa": ["none", "trusted", "untrusted", "invalid", "unreadable", None],
        "evidence.source_type": [None, "digitalCapture", "trainedAlgorithmicMedia", "x"],
        "evidence.source_type_in": [None, "c2pa", "xmp", "c2pa|xmp"], "evidence.ai_fields": [None, '{"AISystemUsed":"a"}'],
        "evidence.generator": [None, "a"], "evidence.watermark": [None, "flux"], "evidence.watermark_agree": [None, 0.9],
        "evidence.camera": [None, "a"], "evidence.camera_fields": [None, 0, 9], "evidence.gps": [None, False, True], "faces.count": [None, 0, 3],
        "faces.largest_share": [0.0, 0.3], "faces.score": [0.0, 0.9], "image.width": [None, 512], "image.height": [None, 512],
    }  # fmt: skip
    rows = [{name: values[generator.integers(len(values))] for name, values in choices.items()} for _ in range(300)]
    for row, found in zip(rows, scored(batch_of(*rows)), strict=True):
        assert (found["band"] is None) == (row["evidence.c2pa"] is None) and found["band"] in (*BANDS, None)
        assert (found["likeness"] is None) == (found["enablement"] is None)
