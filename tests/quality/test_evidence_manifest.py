"""C2PA manifests signed with the tests' certificates: trusted, not, changed, run out, broken; and damaged by chance."""

import struct
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.manifest import MAX_AGENTS, MAX_STORE, PROBLEMS, Manifest, ManifestReader, TrustError, read_anchors
from quality.evidence.reading import evidence_of
from quality.evidence.segments import MAX_SEGMENTS, read_segments
from tests.conftest import SOAK
from tests.trust.labelled import trust_list
from tests.trust.made import broken, chain, jpeg, lapsed, mining, moved, png, signed, webp
from tests.trust.tools import picture, sketch

# ISO 19566-5: a superbox, its description with the type of JSON content, and the content.
JUMBF_OF_JSON = (
    bytes.fromhex("0000003a6a756d62 00000023 6a756d64 6a736f6e00110010800000aa00389b71 03 746573742e6a736f6e00 0000000f6a736f6e")
    + b'{"a":1}'
)
KINDS = {"image/jpeg": jpeg, "image/png": png, "image/webp": webp}


@pytest.fixture(scope="module")
def anchors(tmp_path_factory) -> str:
    return read_anchors(trust_list(tmp_path_factory.mktemp("trust")))


@pytest.fixture(scope="module")
def reader(anchors) -> ManifestReader:
    return ManifestReader(anchors)


@pytest.mark.parametrize("mime", KINDS)
def test_a_signer_is_trusted_if_the_list_has_its_root(reader, mime):
    plain = KINDS[mime](picture())
    ours, strange = signed(plain, mime), signed(plain, mime, by=chain("Stranger"))
    expected = Manifest("trusted", "Pigment Test Maker 1", source_types=["trainedAlgorithmicMedia"])
    assert reader.read(ours) == expected
    expected.state = "untrusted"
    assert reader.read(strange) == expected
    assert ManifestReader().read(ours) == expected


@pytest.mark.parametrize("mime", ["image/jpeg", "image/png"])
def test_a_changed_picture_and_a_certificate_that_ran_out_are_told_apart(reader, mime):
    plain, other = KINDS[mime](picture()), KINDS[mime](sketch())
    changed, old = reader.read(moved(signed(plain, mime), other)), reader.read(lapsed(plain, mime))
    assert (changed.state, changed.problems) == ("invalid", {"c2pa-content-changed"})
    assert (old.state, old.problems) == ("invalid", {"c2pa-certificate-expired"})


def test_a_changed_manifest_is_told_from_a_changed_picture(reader):
    data = signed(png(picture()), "image/png")
    assert data.count(b"Pigment Test Maker") == 1
    renamed = reader.read(data.replace(b"Pigment Test Maker", b"Pigment Test Taker"))
    assert (renamed.state, renamed.problems) == ("invalid", {"c2pa-manifest-changed"})
    assert data.count(b"trainedAlgorithmicMedia") == 1
    retyped = reader.read(data.replace(b"trainedAlgorithmicMedia", b"trainedAlgorithmicMedio"))
    assert (retyped.state, retyped.problems) == ("invalid", {"c2pa-manifest-changed"})


@pytest.mark.parametrize("mime", KINDS)
def test_a_store_that_cannot_be_read(reader, mime):
    assert reader.read(broken(signed(KINDS[mime](picture()), mime))) == Manifest("unreadable", problems={"c2pa-unreadable"})


@pytest.mark.parametrize("mime", KINDS)
def test_no_store(reader, mime):
    assert reader.read(KINDS[mime](picture())) == Manifest()
    assert reader.read(b"GIF89a") == reader.read(b"") == Manifest()


@pytest.mark.parametrize("payload", [JUMBF_OF_JSON, b"\0\0\0\x0cFTYPjpxt", b"\0\0\0\x20junkjunk"], ids=["json", "xt", "junk"])
def test_boxes_of_others_in_a_jpeg_are_no_manifest(reader, payload):
    """JPEG XT, JPEG 360 and others use the same segment."""
    segment = b"JP\0\1\0\0\0\1" + payload
    plain = jpeg(picture())
    data = plain[:2] + b"\xff\xeb" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
    assert read_segments(data).c2pa
    assert reader.read(data) == Manifest()


def test_what_a_picture_was_made_from(reader):
    part = signed(jpeg(picture()), "image/jpeg")
    opened = signed(jpeg(sketch()), "image/jpeg", action="c2pa.opened", source_type=None, ingredients=[("parentOf", part)])
    assert reader.read(opened) == Manifest("trusted", "Pigment Test Maker 1", source_types=["trainedAlgorithmicMedia"])
    placed = signed(jpeg(sketch()), "image/jpeg", source_type="digitalCapture", ingredients=[("componentOf", part)])
    assert reader.read(placed).source_types == ["digitalCapture", "compositeWithTrainedAlgorithmicMedia"]
    looked_at = signed(jpeg(sketch()), "image/jpeg", source_type="digitalCapture", ingredients=[("inputTo", part)])
    assert reader.read(looked_at).source_types == ["digitalCapture"]


def test_a_parent_that_had_been_changed(reader):
    parent = moved(signed(jpeg(picture()), "image/jpeg"), jpeg(sketch()))
    found = reader.read(signed(jpeg(sketch()), "image/jpeg", action="c2pa.opened", source_type=None, ingredients=[("parentOf", parent)]))
    assert (found.state, found.problems) == ("trusted", {"c2pa-ingredient"})


def test_agents_and_tools(reader):
    found = reader.read(signed(png(picture()), "image/png", tool="ChatGPT", agent="DALL·E"))
    assert (found.generator, found.agents) == ("ChatGPT 1", ["DALL·E"])


def test_as_many_agents_as_are_read(reader):
    """Each is held against the names of all generators and editors."""
    actions = [{"action": "c2pa.edited", "softwareAgent": {"name": f"tool {number}"}} for number in (0, *range(2 * MAX_AGENTS))]
    found = reader.read(signed(png(picture()), "image/png", assertions=({"label": "c2pa.actions", "data": {"actions": actions}},)))
    assert found.agents == [f"tool {number}" for number in range(MAX_AGENTS)]


@pytest.mark.parametrize("mime", KINDS)
def test_a_store_of_many_megabytes_is_not_read(reader, mime):
    """A byte of CBOR costs c2pa eighty: 50 MB of it would be 4 GB."""
    small = png(picture())
    store = bytes(MAX_STORE)
    if mime == "image/jpeg":
        data = jpeg(picture())
        segment = b"\xff\xeb" + struct.pack(">H", 65_000 + 2) + b"JP" + bytes(64_998)
        data = data[:2] + segment * (MAX_STORE // 65_000 + 1) + data[2:]
    elif mime == "image/png":
        data = small[:33] + struct.pack(">I", len(store)) + b"caBX" + store + struct.pack(">I", zlib.crc32(b"caBX" + store)) + small[33:]
    else:
        data = webp(picture()) + b"C2PA" + struct.pack("<I", len(store)) + store
    found = evidence_of(data, reader)
    assert (found["c2pa"], found["problems"]) == ("unreadable", "c2pa-unreadable|size")


def test_a_store_may_go_on_where_segments_are_no_longer_looked_at():
    data = jpeg(picture())
    box = b"\xff\xeb\x00\x06JPxx"
    found = read_segments(data[:2] + box + b"\xff\xfe\x00\x02" * MAX_SEGMENTS + bytes(MAX_STORE) + data[2:])
    assert found.c2pa and found.problems == ["segments"]
    assert found.c2pa_bytes > MAX_STORE


def test_source_type_in_iptc_metadata(reader):
    about = {"@context": {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"}}
    about["Iptc4xmpExt:DigitalSourceType"] = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic"
    found = reader.read(
        signed(png(picture()), "image/png", source_type="digitalCreation", assertions=({"label": "stds.iptc", "data": about},))
    )
    assert found.source_types == ["digitalCreation", "compositeSynthetic"]


OLD = ("c2pa.training-mining", "ai_training", "notAllowed")
NEW = ("cawg.training-mining", "data_mining", "constrained")
FREE = ("cawg.training-mining", "ai_generative_training", "allowed")


def test_mining(reader):
    rules = (
        mining("c2pa.training-mining", ai_training="notAllowed"),
        mining("cawg.training-mining", data_mining="constrained", ai_generative_training="allowed"),
    )
    data = signed(jpeg(picture()), "image/jpeg", assertions=rules)
    assert sorted(reader.read(data).uses) == sorted([OLD, NEW, FREE])
    assert sorted(ManifestReader().read(data).uses) == sorted([OLD, NEW, FREE])
    assert sorted(reader.read(moved(data, jpeg(sketch()))).uses) == sorted([OLD, NEW])  # an invalid manifest allows nothing
    opened = signed(jpeg(sketch()), "image/jpeg", action="c2pa.opened", source_type=None, ingredients=[("parentOf", data)])
    assert sorted(reader.read(opened).uses) == sorted([OLD, NEW])  # nor does that of a parent


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "인증서"])
def test_anchors_that_are_none(tmp_path, text):
    path = tmp_path / "anchors.pem"
    path.write_text(text)
    with pytest.raises(TrustError, match=r"anchors\.pem is no file of certificates in PEM"):
        read_anchors(path)


def test_anchors_that_are_not_there_or_no_text(tmp_path):
    path = tmp_path / "anchors.der"
    path.write_bytes(b"\x30\x82\xff\xfe")
    for wrong in (path, tmp_path / "missing.pem", tmp_path):
        with pytest.raises(TrustError, match="is no file of certificates in PEM"):
            read_anchors(wrong)


def test_several_anchors(tmp_path):
    path = tmp_path / "anchors.pem"
    path.write_text("subject=CN = 시험\n" + chain("Stranger")[2] + "\n# 다음\n" + chain()[2])
    assert ManifestReader(read_anchors(path)).read(signed(jpeg(picture()), "image/jpeg")).state == "trusted"


@settings(max_examples=20_000 if SOAK else 300, deadline=None)
@given(data=st.data(), mime=st.sampled_from([*KINDS]))
def test_damage_never_raises_and_takes_no_time(reader, data, mime):
    rules = (mining("cawg.training-mining", data_mining="notAllowed"),)
    plain = KINDS[mime](picture(64))
    whole = bytearray(signed(plain, mime, agent="A", assertions=rules))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(12, len(whole) - 1))
        whole[at : at + 1] = data.draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"A", b"", b"\x9f", b"\x5b\xff"]))
    start = time.thread_time()
    found = reader.read(bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole), len(whole) // 2, 300]))]))
    assert time.thread_time() - start < 1
    assert found.problems <= set(PROBLEMS)
    assert found.state in ("none", "trusted", "untrusted", "invalid", "unreadable")


@settings(max_examples=5_000 if SOAK else 150, deadline=None)
@given(data=st.data(), mime=st.sampled_from(["image/jpeg", "image/png"]))
def test_no_byte_of_the_picture_can_be_changed(reader, data, mime):
    plain = KINDS[mime](picture(64))
    whole = signed(plain, mime)
    first = whole.rindex(plain[-500:])  # the store stands before the picture
    at = data.draw(st.integers(first, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    found = reader.read(bytes(changed))
    assert found.state in ("invalid", "unreadable", "none")
