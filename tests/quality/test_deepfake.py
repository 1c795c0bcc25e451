"""Evidence to scores and bands: sums, kin, weak groups, faces and names; every band with what it would be without each piece."""

import json
import math

import pytest

from quality.deepfake import BANDS, Case, judge
from quality.deepfake.arithmetic import GROUPS, Signal, counted
from quality.deepfake.signals import COLUMNS, case_of
from quality.deepfake.table import HELPS_TO_FAKE, PRIOR, PROBE_MOST, RAISES_TO_REVIEW, WEIGHTS

NOTHING = dict.fromkeys(COLUMNS) | {"evidence.c2pa": "none", "faces.count": 0, "faces.largest_share": 0.0, "faces.score": 0.1}
SIZES = {"image.width": 640, "image.height": 480}
AI = {"evidence.source_type": "trainedAlgorithmicMedia"}
CAPTURE = {"evidence.source_type": "digitalCapture"}
CAMERA = {"evidence.camera": "Canon EOS R6", "evidence.camera_fields": 9}
GENERATOR = {"evidence.generator": "AUTOMATIC1111", "evidence.generator_in": "png:parameters"}
FACE = {"faces.count": 1, "faces.largest_share": 0.2, "faces.score": 0.9}


def judged(*parts, caption=None, named=False, probe=None):
    row = NOTHING | SIZES
    for part in parts:
        row = row | part
    return judge(case_of(row, caption=caption, named=named, probe_llr=probe))


def c2pa(state, kind=None):
    return {"evidence.c2pa": state, **(kind or {}), "evidence.source_type_in": "c2pa" if kind else None}


def probability(*llrs):
    return 1 / (1 + math.exp(-(PRIOR["synthetic"] + sum(llrs))))


@pytest.mark.parametrize(
    ("parts", "band", "llrs"),
    [
        ([], "none", []),
        ([c2pa("trusted", AI)], "high", [7]),
        ([c2pa("untrusted", AI)], "high", [7]),
        ([c2pa("invalid", AI)], "review", [4.5]),
        ([c2pa("invalid")], "review", [4.5]),
        ([c2pa("invalid", CAPTURE)], "review", [4.5]),
        ([c2pa("unreadable")], "low", [1]),
        ([c2pa("invalid", CAPTURE) | {"evidence.problems": "c2pa-certificate-expired|exif"}], "low", [1]),
        ([c2pa("invalid", CAPTURE) | {"evidence.problems": "c2pa-certificate-expired|c2pa-content-changed"}], "review", [4.5]),
        ([c2pa("untrusted") | {"evidence.generator": "dall-e", "evidence.generator_in": "c2pa:softwareAgent"}], "high", [7]),
        ([c2pa("invalid") | {"evidence.generator": "dall-e", "evidence.generator_in": "c2pa:softwareAgent"}], "review", [4.5]),
        (
            [c2pa("invalid") | {"evidence.generator": "dall-e", "evidence.generator_in": "c2pa:softwareAgent|xmp:CreatorTool"}],
            "high",
            [4.5, 7],
        ),
        ([c2pa("trusted")], "none", [0]),
        ([c2pa("trusted", CAPTURE)], "none", [-3]),
        ([c2pa("untrusted", CAPTURE)], "low", [1]),
        ([AI, {"evidence.source_type_in": "xmp"}], "review", [4.5]),
        ([AI, {"evidence.source_type_in": "xmp"}, CAMERA], "review", [4.5, -1]),
        ([CAPTURE, {"evidence.source_type_in": "xmp"}], "none", [-0.5]),
        ([{"evidence.source_type": "digitalCreation", "evidence.source_type_in": "xmp"}], "none", []),
        ([{"evidence.ai_fields": '{"AISystemUsed":"x"}'}], "high", [7]),
        ([GENERATOR], "high", [7]),
        ([GENERATOR, CAMERA], "high", [7, -1]),
        ([GENERATOR, c2pa("trusted", CAPTURE)], "review", [7, -3]),
        ([{"evidence.watermark": "stable-diffusion-xl", "evidence.watermark_agree": 1.0}], "high", [7]),
        ([CAMERA], "none", [-1]),
        ([{"evidence.camera": "EPSON V600", "evidence.camera_fields": 0}], "none", [-0.5]),
        ([{"evidence.gps": True}, CAMERA], "none", [-1]),
        ([{"image.width": 512, "image.height": 768}], "low", [1]),
        ([{"image.width": 512, "image.height": 500}], "none", []),
        ([{"image.width": 1024, "image.height": 1024}, CAMERA], "none", [1, -1]),
    ],
)
def test_one_piece_and_its_band(parts, band, llrs):
    found = judged(*parts)
    assert found.band == band and found.synthetic == pytest.approx(probability(*llrs))


def test_nothing_reads_no_evidence_and_never_real():
    found = judged()
    assert found.pieces == [] and found.no_evidence == list(GROUPS)
    assert found.synthetic == pytest.approx(probability())


def test_kin_count_once_and_the_largest():
    both = c2pa("trusted", AI) | {"evidence.source_type_in": "c2pa|xmp", "evidence.ai_fields": '{"AISystemUsed": "x"}'}
    found = judged(both)
    assert found.synthetic == pytest.approx(probability(7))
    assert [(piece["signal"], piece["counts"]) for piece in found.pieces] == [
        ("c2pa_trusted_ai", True), ("iptc_ai_fields", False), ("xmp_ai", False),
    ]  # fmt: skip
    assert [piece["band_without"] for piece in found.pieces] == ["high"] * 3  # another of its kin takes its place


def test_of_equals_the_one_that_speaks_for_risk_counts():
    pair = [Signal("synthetic", "declared", name, llr) for name, llr in (("a", -2.0), ("b", 2.0))]
    assert [signal.signal for signal in counted(pair)] == ["b"] == [signal.signal for signal in counted(pair[::-1])]


def test_each_piece_says_what_the_band_would_be_without_it():
    found = judged(GENERATOR, AI | {"evidence.source_type_in": "xmp"}, CAMERA)
    assert found.band == "high"
    assert {piece["signal"]: piece["band_without"] for piece in found.pieces} == {
        "xmp_ai": "high", "generator_metadata": "review", "camera_fields": "high",
    }  # fmt: skip
    assert found.no_evidence == ["watermark", "probe", "context", "face", "name"]


@pytest.mark.parametrize("probe", [0.0, 1.0, PROBE_MOST])
@pytest.mark.parametrize("caption", [None, "an ai generated portrait"])
@pytest.mark.parametrize("others", [[], [FACE], [FACE, {"image.width": 1024, "image.height": 1024}]])
def test_weak_groups_raise_to_review_and_no_further(probe, caption, others):
    without = judged(*others, named=True)
    found = judged(*others, caption=caption, probe=probe, named=True)
    assert BANDS.index(without.band) <= BANDS.index(found.band) <= BANDS.index("review")


def test_the_probe_alone_reaches_review_and_clears_nothing():
    assert judged(probe=PROBE_MOST).band == "review" and judged(probe=0.0).band == "none"
    assert judged(GENERATOR, probe=0.0).synthetic == judged(GENERATOR).synthetic
    assert judged(AI, {"evidence.source_type_in": "xmp"}, probe=PROBE_MOST).band == "review"
    assert judged(GENERATOR, probe=PROBE_MOST).band == "high"


@pytest.mark.parametrize(
    "caption",
    [
        "ai generated cat",
        "made by midjourney",
        "a deepfake",
        "stable diffusion art",
        "faceswap of two friends",
        "딥페이크 영상",
        "ai로 생성한 그림",
        "인공지능이 그린 고양이",
    ],
)
def test_captions_that_say_so(caption):
    assert [piece["signal"] for piece in judged(caption=caption).pieces] == ["caption_says_generated"]
    assert judged(caption=caption).band == "low"


@pytest.mark.parametrize(
    "caption", ["a cat", "said he generated interest", "main generated road", "railway", "aid generated by the town", "생성 규칙"]
)
def test_captions_that_do_not(caption):
    assert judged(caption=caption).pieces == []


@pytest.mark.parametrize(
    ("face", "named", "likeness"),
    [
        ({}, False, -3), ({}, True, 0),
        (FACE, False, 2), (FACE | {"faces.largest_share": 0.05}, False, 2), (FACE | {"faces.largest_share": 0.0499}, False, 1),
        (FACE | {"faces.largest_share": 0.0099}, False, -1), (FACE | {"faces.score": 0.6999}, False, -1), (FACE, True, 5),
    ],
)  # fmt: skip
def test_likeness(face, named, likeness):
    found = judged(face, named=named)
    assert found.likeness == pytest.approx(1 / (1 + math.exp(-likeness)))
    assert found.band == ("low" if likeness >= 0 else "none")


def test_enablement_wants_one_large_clear_named_face():
    large = {"image.width": 1000, "image.height": 1000}
    best = judged(FACE, large, named=True)
    assert best.enablement == pytest.approx(best.likeness) and best.enablement > HELPS_TO_FAKE
    assert judged(FACE, large).enablement == pytest.approx(judged(FACE, large).likeness / 2)
    assert judged(FACE, large, {"faces.count": 4}, named=True).enablement == pytest.approx(best.likeness / 4)
    assert judged(FACE, {"image.width": 100, "image.height": 100}, named=True).enablement == pytest.approx(
        best.likeness * 0.2**0.5 * 100 / 128
    )
    assert judged(large, named=True).enablement == 0
    assert best.band == "low", "a photograph of a person is no deepfake"


def test_a_named_face_makes_review_high_and_says_so():
    xmp = AI | {"evidence.source_type_in": "xmp"}
    found = judged(xmp, FACE, named=True)
    assert found.band == "high"
    assert {piece["group"]: piece["band_without"] for piece in found.pieces} == {"declared": "low", "face": "review", "name": "review"}
    assert judged(xmp, FACE).band == "review"


def test_faces_that_were_not_measured_are_none():
    found = judged(GENERATOR, dict.fromkeys(("faces.count", "faces.largest_share", "faces.score")))
    assert (found.likeness, found.enablement, found.band) == (None, None, "high")


def test_every_constant_has_its_source_and_a_group():
    assert all(weight.why and weight.group in GROUPS and weight.score in PRIOR for weight in WEIGHTS.values())
    assert set(GROUPS) >= RAISES_TO_REVIEW
    assert json.dumps(judged(GENERATOR).pieces)


def test_a_case_is_judged_alike_whatever_the_order():
    case = case_of(NOTHING | SIZES | GENERATOR | CAMERA | FACE, caption="ai generated", named=True, probe_llr=1.0)
    assert judge(case) == judge(Case(case.signals[::-1], case.faces))
