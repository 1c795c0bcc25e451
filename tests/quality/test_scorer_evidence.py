"""The scorer evidence on the labelled set, row by row; on drawings; and on files that mean harm."""

import json
import pickle
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from quality.evidence.carriers import MOST_PIXELS, can_carry_watermark
from quality.evidence.manifest import PROBLEMS as MANIFEST_PROBLEMS
from quality.evidence.reading import PROBLEMS
from quality.evidence.text import LONG, SHORT
from quality.evidence.watermark import SCHEMES
from quality.scorers import ScorerError, make_scorers
from quality.scorers.batch import PairBatch
from quality.scorers.evidence import Evidence
from quality.scorers.protocol import Scorer, sides_of
from tests.conftest import SOAK
from tests.scoring import sample_pairs
from tests.trust import tools
from tests.trust.labelled import AI_FIELDS, BANDS, labelled, trust_list
from tests.trust.made import chain, exif, jpeg, mining, photoshop, png, signed, user_comment, webp, xmp
from tests.trust.watermarks import marked

NOTHING = dict.fromkeys(Evidence.fields.names) | {"c2pa": "none", "camera_fields": 0, "gps": False}
TEST, CAMERA, EDITOR = "Pigment Test Maker 1", "Test Camera 1", "Test Editor 1"
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"


def said(tool: str, place: str, **more) -> dict:
    return {"generator": tool, "generator_in": place, **more}


def typed(kind: str, places: str = "xmp") -> dict:
    return {"source_type": kind, "source_type_in": places}


def manifest(state: str, kind: str, tool: str = TEST, **more) -> dict:
    return {"c2pa": state, "c2pa_generator": tool, **typed(kind, "c2pa"), **more}


def mark(scheme: str, agree: float = 1.0) -> dict:
    return {"watermark": scheme, "watermark_agree": pytest.approx(agree, abs=1e-4)}


# What each file of the labelled set says, beyond NOTHING.
SAYS = {
    "automatic1111-png": said("automatic1111", "png:parameters"),
    "automatic1111-jpeg": said("automatic1111", "exif:UserComment"),
    "automatic1111-webp": said("automatic1111", "exif:UserComment"),
    "automatic1111-extras": said("automatic1111", "png:postprocessing"),
    "comfyui-png": said("comfyui", "png:prompt|png:workflow"),
    "comfyui-webp": said("comfyui", "exif:Model|exif:Make"),  # and no camera
    "invokeai-3": said("invokeai", "png:invokeai_metadata"),
    "invokeai-2": said("invokeai", "png:sd-metadata|png:Dream"),
    "invokeai-1": said("invokeai", "png:Dream"),
    "novelai": said("novelai", "png:Software|png:Comment"),
    "fooocus-png": said("fooocus", "png:fooocus_scheme|png:parameters"),
    "fooocus-as-a1111": said("fooocus", "png:fooocus_scheme|png:parameters"),
    "fooocus-jpeg": said("fooocus", "exif:UserComment|exif:Software"),
    "fooocus-comment": said("fooocus", "jpeg:comment"),
    "swarmui-png": said("swarmui", "png:parameters"),
    "swarmui-jpeg": said("swarmui", "exif:UserComment"),
    "easy-diffusion-png": said("easy-diffusion", "png:use_stable_diffusion_model"),
    "easy-diffusion-jpeg": said("easy-diffusion", "exif:UserComment"),
    "draw-things": said("draw-things", "xmp:CreatorTool"),
    "midjourney-png": said("midjourney", "png:Description") | typed(TRAINED),
    "midjourney-jpeg": said("midjourney", "xmp:description"),
    "flux": said("flux", "exif:Software|exif:Make"),  # and no camera
    "google-xmp": said("google", "xmp:Credit") | typed(TRAINED),
    "google-iim": said("google", "iim:Credit"),
    "firefly-xmp": said("firefly", "xmp:CreatorTool"),
    "grok": said("grok", "exif:ImageDescription"),
    "aigc-png": said("aigc-label", "png:AIGC"),
    "aigc-xmp": said("aigc-label", "xmp:AIGC"),
    "stable-diffusion": said("stable-diffusion", "png:Software"),
    "iptc-trained": typed(TRAINED),
    "iptc-composite": typed(COMPOSITE),
    "iptc-capture": typed("digitalCapture"),
    "iptc-creation": typed("digitalCreation"),
    "iptc-ai-fields": {"ai_fields": json.dumps({name.partition(":")[2]: text for name, text in AI_FIELDS.items()}, sort_keys=True)},
    "iptc-ai-system": {"ai_fields": '{"AISystemUsed": "Example Painter"}'},
    "iptc-mining": {"mining": "disallowed", "mining_signals": "plus:DMI-PROHIBITED-AIMLTRAINING"},
    "c2pa-trusted-trained-jpeg": manifest("trusted", TRAINED),
    "c2pa-trusted-trained-png": manifest("trusted", TRAINED),
    "c2pa-trusted-trained-webp": manifest("trusted", TRAINED),
    "c2pa-trusted-composite": manifest("trusted", COMPOSITE),
    "c2pa-trusted-capture": manifest("trusted", "digitalCapture", CAMERA),
    "c2pa-trusted-mining": manifest("trusted", "digitalCapture", CAMERA, mining="disallowed")
    | {"mining_signals": "cawg.training-mining:ai_generative_training=notAllowed|cawg.training-mining:data_mining=allowed"},
    "c2pa-untrusted-trained": manifest("untrusted", TRAINED),
    "c2pa-untrusted-capture": manifest("untrusted", "digitalCapture", CAMERA),
    "c2pa-edited-trained-jpeg": manifest("invalid", TRAINED, problems="c2pa-content-changed"),
    "c2pa-edited-trained-png": manifest("invalid", TRAINED, problems="c2pa-content-changed"),
    "c2pa-edited-capture": manifest("invalid", "digitalCapture", CAMERA, problems="c2pa-content-changed"),
    "c2pa-lapsed": manifest("invalid", "digitalCapture", problems="c2pa-certificate-expired"),
    "c2pa-broken": {"c2pa": "unreadable", "problems": "c2pa-unreadable"},
    "c2pa-dall-e": manifest("trusted", TRAINED, "ChatGPT 1") | said("dall-e", "c2pa:softwareAgent|c2pa:claim_generator"),
    "c2pa-firefly": manifest("trusted", TRAINED, "Adobe_Firefly 1") | said("firefly", "c2pa:softwareAgent|c2pa:claim_generator"),
    "c2pa-parent-trained": manifest("trusted", TRAINED, EDITOR),
    "c2pa-component-trained": manifest("trusted", COMPOSITE, EDITOR),
    "c2pa-stripped": {},
    **{f"watermark-{scheme}-{plane}": mark(scheme) for scheme in SCHEMES for plane in SCHEMES[scheme].planes},
    "watermark-webp": mark("stable-diffusion-xl"),
    "watermark-jpeg-90-444": mark("stable-diffusion-xl"),
    "watermark-jpeg-75-444": mark("stable-diffusion-xl", 46 / 48),
    "watermark-jpeg-95": mark("stable-diffusion-xl", 44 / 48),
    "watermark-jpeg-90": {},
    "watermark-jpeg-75": {},
    "watermark-jpeg-50": {},
    "watermark-bottom-cut": mark("stable-diffusion-xl"),
    "watermark-resized": {},
    "watermark-cropped": {},
    "camera-shaped-canon": {"camera": "Canon EOS R6", "camera_fields": 10},
    "camera-shaped-nikon": {"camera": "NIKON CORPORATION NIKON Z 6_2", "camera_fields": 10},
    "camera-shaped-sony": {"camera": "SONY ILCE-7M4", "camera_fields": 10},
    "camera-shaped-iphone": {"camera": "Apple iPhone 15 Pro", "camera_fields": 9},
    "camera-shaped-samsung": {"camera": "samsung SM-S921N", "camera_fields": 8},
    "camera-shaped-pixel": {"camera": "Google Pixel 8", "camera_fields": 8},
    "camera-shaped-drone": {"camera": "DJI FC3582", "camera_fields": 8},
    "camera-shaped-gps": {"camera": "Apple iPhone 15 Pro", "camera_fields": 9, "gps": True},
    "camera-shaped-square": {"camera": "Canon EOS R6", "camera_fields": 10},
    "camera-shaped-developed": {"camera": "Canon EOS R6", "camera_fields": 10, "editor": tools.LIGHTROOM},
    "camera-shaped-scanner": {"camera": "EPSON Perfection V600"},
    "editor-photoshop": {"editor": tools.PHOTOSHOP},
    "editor-history": {"editor": tools.PHOTOSHOP},
    "editor-gimp": {"editor": "GIMP 2.10.36"},
    "editor-inkscape": {"editor": "www.inkscape.org"},
    "editor-krita": {"editor": "Krita 5.2.2"},
    "drawing-animals-bugs-butterfly_jonvdveen_01": {},
    "drawing-animals-mammals-big_cats-tiger_graig_ryan_smith_-_01": {},
    "drawing-computer-icons-flat-theme-action-bar0": {"editor": "www.inkscape.org"},
    "drawing-adhesive-bandage": {},
    "drawing-512": {},
    "drawing-captioned": {},
    "drawing-prompt": {},
}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> Evidence:
    loaded = Evidence(trust_list(tmp_path_factory.mktemp("trust")))
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {item.name: item.make() for item in labelled()}


def scored(scorer: Evidence, *data: bytes | None) -> list[dict]:
    batch = scorer.score(PairBatch([None] * len(data), data))
    assert batch.schema.equals(scorer.fields)
    return batch.to_pylist()


def test_the_labelled_set_is_whole():
    items = labelled()
    assert [item.name for item in items] == list(SAYS)
    assert {item.band for item in items} == set(BANDS)
    assert len({(item.holds, item.name) for item in items}) == len(items) >= 40


@pytest.mark.parametrize("name", SAYS)
def test_labelled(scorer, files, name):
    assert scored(scorer, files[name]) == [NOTHING | SAYS[name]]


def test_rows_do_not_depend_on_their_neighbours(scorer, files):
    names = [*files][::5]
    together = scored(scorer, None, *(files[name] for name in names), None, b"junk")
    assert together[0] == together[-2] == dict.fromkeys(scorer.fields.names)
    assert together[-1] == NOTHING
    assert [row for name in reversed(names) for row in scored(scorer, files[name])] == together[-3:0:-1]


def test_without_a_trust_list_nobody_is_trusted(files):
    alone = Evidence()
    alone.load()
    rows = scored(alone, *(data for name, data in files.items() if name.startswith("c2pa-")))
    assert {row["c2pa"] for row in rows} == {"untrusted", "invalid", "unreadable", "none"}


def test_fields_are_as_agreed():
    text, number = pa.string(), {"watermark_agree": pa.float32(), "camera_fields": pa.int16(), "gps": pa.bool_()}
    names = (
        "c2pa c2pa_generator source_type source_type_in ai_fields generator generator_in watermark watermark_agree camera camera_fields editor gps "
        "mining mining_signals problems"
    )
    assert [(f.name, f.type) for f in Evidence.fields] == [(name, number.get(name, text)) for name in names.split()]
    assert isinstance(Evidence(), Scorer) and sides_of([Evidence()]) == [512]


def test_the_version_knows_the_trust_list(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "anchors.pem").write_text(chain("Stranger")[2])
    versions = {Evidence(trust).version for trust in (None, trust_list(tmp_path), tmp_path / "other" / "anchors.pem")}
    named = {version.partition("@")[0] for version in versions}  # what policies name: several passes can then stand in one pool
    assert len(named) == 3 and "metadata" in named and all(name.startswith("metadata+trust-") for name in named - {"metadata"})
    assert Evidence(trust_list(tmp_path)).version == make_scorers(["evidence"], c2pa_trust=tmp_path / "anchors.pem")[0].version


def test_a_scorer_travels_with_its_trust_list(tmp_path, files):
    path = trust_list(tmp_path)
    again = pickle.loads(pickle.dumps(Evidence(path)))
    path.unlink()
    again.load()
    assert scored(again, files["c2pa-trusted-capture"])[0]["c2pa"] == "trusted"


def test_a_trust_list_that_is_none_is_named(tmp_path):
    with pytest.raises(ScorerError, match=r"scorer evidence: .*missing\.pem is no file of certificates"):
        make_scorers(["evidence"], c2pa_trust=tmp_path / "missing.pem")


# ---- what counts when several things are said


def test_the_most_generated_source_type_counts_and_all_its_places(scorer):
    capture = xmp(attributes={"Iptc4xmpExt:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"})
    both = signed(jpeg(tools.picture(), xmp=capture), "image/jpeg")
    same = signed(jpeg(tools.picture(), xmp=capture), "image/jpeg", source_type="digitalCapture")
    rows = scored(scorer, both, same)
    assert [(row["source_type"], row["source_type_in"]) for row in rows] == [(TRAINED, "c2pa"), ("digitalCapture", "c2pa|xmp")]


def test_an_unknown_source_type_yields_to_a_known_one(scorer):
    kinds = [xmp(attributes={"Iptc4xmpExt:DigitalSourceType": kind}) for kind in ("madeUp", "http://example.org/madeUp/")]
    known = xmp(attributes={"Iptc4xmpExt:DigitalSourceType": "digitalArt"}, elements={"Iptc4xmpExt:DigitalSourceType": "http://x/aMadeUp"})
    rows = scored(scorer, *(webp(tools.sketch(), xmp=packet) for packet in [*kinds, known]))
    assert [row["source_type"] for row in rows] == ["madeUp", "madeUp", "digitalArt"]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("DMI-ALLOWED", "allowed"),
        ("DMI-UNSPECIFIED", None),
        ("DMI-PROHIBITED", "disallowed"),
        ("DMI-PROHIBITED-GENAIMLTRAINING", "disallowed"),
        ("DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "disallowed"),
        ("DMI-PROHIBITED-SEECONSTRAINT", "disallowed"),
    ],
)
def test_words_of_plus(scorer, word, state):
    for value in ("http://ns.useplus.org/ldf/vocab/" + word, word):
        (row,) = scored(scorer, jpeg(tools.sketch(), xmp=xmp(elements={"plus:DataMining": value})))
        assert (row["mining"], row["mining_signals"]) == (state, "plus:" + word)


def test_the_most_restrictive_word_on_mining_counts(scorer):
    free = xmp(attributes={"plus:DataMining": "DMI-ALLOWED"})
    rules = [mining("c2pa.training-mining", ai_training=use) for use in ("allowed", "constrained", "notAllowed")]
    rows = scored(scorer, *(signed(jpeg(tools.sketch(), xmp=free), "image/jpeg", assertions=(rule,)) for rule in rules))
    assert [row["mining"] for row in rows] == ["allowed", "disallowed", "disallowed"]
    assert rows[1]["mining_signals"] == "c2pa.training-mining:ai_training=constrained|plus:DMI-ALLOWED"


def test_a_camera_file_that_a_generator_worked_on_has_both(scorer):
    photo = tools.CAMERAS["canon"][1] | {0x9286: user_comment(tools.A1111)}
    (row,) = scored(scorer, jpeg(tools.sketch(), exif=exif({0x010F: "Canon", 0x0110: "Canon EOS R6"}, photo)))
    assert (row["camera"], row["camera_fields"], row["generator"]) == ("Canon EOS R6", 10, "automatic1111")


@pytest.mark.parametrize(
    ("data", "editor"),
    [
        (lambda: jpeg(tools.sketch(), exif=exif({0x0131: "Obscure Painter 3"})), "Obscure Painter 3"),
        (lambda: tools.camera_shaped("canon", software="Obscure Firmware 3"), None),
        (lambda: tools.camera_shaped("pixel", software="Snapseed 2.0"), "Snapseed 2.0"),
        (lambda: png(tools.sketch(), texts={"Software": "12.1"}), None),
        (lambda: jpeg(tools.sketch(), iim=photoshop([(2, 65, "Paint Shop Pro")])), "Paint Shop Pro"),
        (lambda: png(tools.sketch(), texts={"Comment": "Created with GIMP"}), "Created with GIMP"),
        (lambda: png(tools.sketch(), texts={"Comment": "gimp and krita are programs"}), None),
        (lambda: signed(jpeg(tools.sketch()), "image/jpeg", source_type="digitalCreation", tool="Adobe_Photoshop"), "Adobe_Photoshop 1"),
        (tools.novelai, None),
    ],
)
def test_editors(scorer, data, editor):
    assert scored(scorer, data())[0]["editor"] == editor


def test_a_manifest_elsewhere_is_noted_and_not_fetched(scorer):
    spaces = 'xmlns:dcterms="http://purl.org/dc/terms/"'
    more = f"<dcterms:provenance {spaces}>http://127.0.0.1:9/manifest.c2pa</dcterms:provenance>"
    assert scored(scorer, jpeg(tools.sketch(), xmp=xmp(more=more))) == [NOTHING | {"problems": "c2pa-remote"}]


def test_hostile_rules_on_mining_are_cut_and_all_decide(scorer):
    rule = {f"cawg.entry{number:03d}|x": {"use": "allowed"} for number in range(200)} | {"cawg.zzz": {"use": "notAllowed"}}
    data = signed(png(tools.picture(64)), "image/png", assertions=({"label": "cawg.training-mining", "data": {"entries": rule}},))
    (row,) = scored(scorer, data)
    signals = row["mining_signals"].split("|")
    assert row["mining"] == "disallowed" and len(signals) == 32 and signals == sorted(signals)
    assert signals[0] == "cawg.training-mining:entry000 x=allowed"


# ---- watermarks


def test_where_a_watermark_is_looked_for():
    def image(width: int, height: int, orientation: int = 1) -> bytes:
        return jpeg(Image.new("RGB", (width, height)), exif=exif({0x0112: orientation}))

    side = int(MOST_PIXELS**0.5)
    assert can_carry_watermark(image(256, 256)) and can_carry_watermark(image(512, 301)) and can_carry_watermark(image(side, side))
    for width, height in ((256, 255), (513, 512), (side, side + 1), (8, 80)):
        assert not can_carry_watermark(image(width, height))
    assert not can_carry_watermark(image(512, 512, orientation=6))
    assert not can_carry_watermark(b"junk")


@pytest.mark.parametrize("side", [512, 768, 1024, 1536])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_watermarks_outlive_what_others_ask_for(scorer, side, cut):
    """Pixels that are shared with other scorers come scaled down where they are large; the mark is in the whole. cut: rows at the bottom."""
    bits = SCHEMES["stable-diffusion-xl"].bits
    pixels = marked(np.array(tools.picture(side)), bits, "floats")[: side - cut]
    rows = scored(scorer, png(Image.fromarray(pixels)), jpeg(Image.fromarray(pixels), quality=95, full_colour=True))
    assert [row["watermark"] for row in rows] == ["stable-diffusion-xl"] * 2


def test_drawings_of_the_sample_have_no_evidence(scorer):
    pairs = sample_pairs(715 if SOAK else 60)
    rows = scorer.score(PairBatch(*zip(*pairs, strict=True))).to_pylist()
    assert [{**row, "editor": None} for row in rows] == [NOTHING] * len(pairs)


# ---- harm

LONG_TEXT = "x\x00\x1b[31m\u202e " * 50_000


def test_texts_are_short_and_clean(scorer):
    packet = xmp(
        elements={
            "xmp:CreatorTool": "Paint " + LONG_TEXT.replace("\0", "").replace("\x1b", ""),
            "Iptc4xmpExt:AIPromptInformation": "y" * 9000,
        }
    )
    rows = scored(
        scorer,
        png(tools.sketch(), texts={"Software": LONG_TEXT}, xmp=packet),
        jpeg(tools.sketch(), exif=exif({0x010F: "M" * 30_000, 0x0110: LONG_TEXT[:30_000]})),
        signed(png(tools.picture()), "image/png", tool="T" * 5_000, agent="A" * 5_000),
    )
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                assert len(value) <= (4 * LONG + 200 if name == "ai_fields" else SHORT)
                assert not any(unicodedata.category(letter) in ("Cc", "Cf") for letter in value)
    assert json.loads(rows[0]["ai_fields"]) == {"AIPromptInformation": "y" * LONG}


def test_problems_are_words_of_the_list(scorer):
    cases = {
        "xmp-entities": jpeg(tools.sketch(), xmp=b"<!DOCTYPE x><x/>"),
        "xmp": jpeg(tools.sketch(), xmp=b"<x>"),
        "exif": jpeg(tools.sketch()).replace(b"\xff\xdb", b"\xff\xe1\0\x0cExif\0\0II*\0\xff\xdb", 1),
        "iim": jpeg(tools.sketch(), iim=b"8BIM\x04\x04"),
        "truncated": png(tools.sketch())[:-30],
        "segments": webp(tools.sketch(), xmp=b"<x/>") + b"XMP \x04\0\0\0<x/>" * 5,
    }
    for word, data in cases.items():
        assert scored(scorer, data) == [NOTHING | {"problems": word}]
    assert set(cases) | set(MANIFEST_PROBLEMS) | {"c2pa-remote", "size", "text"} == set(PROBLEMS)


@settings(max_examples=10_000 if SOAK else 250, deadline=None)
@given(data=st.data())
def test_damaged_files_never_raise(scorer, files, data):
    whole = bytearray(files[data.draw(st.sampled_from([name for name in files if not name.startswith("watermark")]))])
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, min(len(whole), 3000) - 1))
        whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    start = time.thread_time()
    (row,) = scored(scorer, bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) // 2, 100]))]))
    assert time.thread_time() - start < 2
    assert set((row["problems"] or "size").split("|")) <= set(PROBLEMS)
    assert row["c2pa"] in ("none", "trusted", "untrusted", "invalid", "unreadable") and row["mining"] in (None, "allowed", "disallowed")


@settings(max_examples=2_000 if SOAK else 100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xeb\0\x20JP"]),
)
def test_any_bytes(scorer, data, magic):
    (row,) = scored(scorer, magic + data)
    assert row["camera_fields"] >= 0 and row["generator"] is None
