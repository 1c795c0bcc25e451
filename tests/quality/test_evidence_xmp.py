"""XMP in the forms in use, and packets that mean harm."""

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.evidence.xmp import MAX_CHARACTERS, MAX_DEPTH, MAX_ELEMENTS, MAX_PACKET, MAX_VALUES, read_xmp
from tests.conftest import SOAK
from tests.trust.made import SOURCE_TYPES, history, xmp

TRAINED = SOURCE_TYPES + "trainedAlgorithmicMedia"
TYPE = "Iptc4xmpExt:DigitalSourceType"


def described(inner: str, head: str = "", attributes: str = "") -> bytes:
    """A packet by hand, with prefixes of its own."""
    return (
        f'{head}<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<r:Description xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:d="http://purl.org/dc/elements/1.1/" {attributes}>'
        f"{inner}</r:Description></r:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    "packet",
    [
        xmp(attributes={TYPE: TRAINED}),
        xmp(elements={TYPE: TRAINED}),
        described(f'<i:DigitalSourceType r:resource="{TRAINED}"/>'),
        described(f"<i:DigitalSourceType><r:Description><r:value>{TRAINED}</r:value></r:Description></i:DigitalSourceType>"),
        described("", attributes=f'i:DigitalSourceType="{TRAINED}"'),
        xmp(attributes={TYPE: TRAINED}) + b" " * 2000 + b"\0",
        xmp(attributes={TYPE: TRAINED}).decode().encode("utf-16"),
        b"\xef\xbb\xbf" + described(f"<i:DigitalSourceType>\n  {TRAINED}\n</i:DigitalSourceType>", head='<?xml version="1.0"?>'),
        described(f"<i:DigitalSourceType>{TRAINED}</i:DigitalSourceType>", head='<?xml version="1.0" encoding="nonsense"?>'),
    ],
    ids=["attribute", "element", "resource", "value", "prefixes", "padded", "utf-16", "bom", "encoding"],
)
def test_a_property_in_any_of_its_forms(packet):
    found = read_xmp(packet)
    assert found.values == {TYPE: [TRAINED]}
    assert (found.whole, found.refused) == (True, False)


def test_arrays_have_a_value_an_item():
    packet = described('<d:description><r:Alt><r:li xml:lang="x-default">one &amp; a</r:li><r:li>둘</r:li></r:Alt></d:description>')
    assert read_xmp(packet).values == {"dc:description": ["one & a", "둘"]}


def test_history_names_its_agents():
    inner = "<rdf:li><rdf:Description><stEvt:softwareAgent>C</stEvt:softwareAgent></rdf:Description></rdf:li>"
    both = f"<xmpMM:History><rdf:Seq>{inner}</rdf:Seq></xmpMM:History>"
    assert read_xmp(xmp(more=history("A", "B") + both)).values == {"stEvt:softwareAgent": ["A", "B", "C"]}


def test_what_an_ingredient_says_is_not_said_of_the_image():
    inner = f'<r:Bag><r:li><r:Description i:DigitalSourceType="{TRAINED}"><i:AISystemUsed>X</i:AISystemUsed></r:Description></r:li></r:Bag>'
    assert read_xmp(described(f"<i:ArtworkOrObject>{inner}</i:ArtworkOrObject>")).values == {}


def test_names_of_other_spaces_are_not_ours():
    assert read_xmp(described('<z:DigitalSourceType xmlns:z="http://example.org/">x</z:DigitalSourceType>')).values == {}
    assert read_xmp(described("<d:DigitalSourceType>x</d:DigitalSourceType>")).values == {}


def test_two_descriptions_count_both():
    one = described("<d:description>a</d:description>").decode()
    two = one.replace(
        "</r:Description>", '</r:Description><r:Description i:AISystemUsed="b" xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"/>'
    )
    assert read_xmp(two.encode()).values == {"dc:description": ["a"], "Iptc4xmpExt:AISystemUsed": ["b"]}


# ---- harm

LAUGHS = '<!DOCTYPE z [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">' + "".join(
    f'<!ENTITY {chr(99 + level)} "{f"&{chr(98 + level)};" * 10}">' for level in range(10)
)  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        LAUGHS + "]>",
        '<!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE z SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE z [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>',
    ],
    ids=["laughs", "file", "dtd", "parameter"],
)
def test_document_types_are_refused(head):
    tracemalloc.start()
    found = read_xmp(described("<d:description>&a;&k;</d:description>", head=head))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.values, found.whole, found.refused) == ({}, False, True)
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<",
        b"\0\0",
        b"no xml",
        described("<d:description>&undefined;</d:description>"),
        described("<unclosed>"),
        described("<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH),
        described("<a/>" * (MAX_ELEMENTS + 1)),
        b"\xff\xfe\0\xd8<x/>",
    ],
)
def test_broken_packets_are_noted(packet):
    assert (read_xmp(packet).values, read_xmp(packet).whole) == ({}, False)


def test_what_stands_before_the_damage_is_kept():
    found = read_xmp(xmp(attributes={TYPE: TRAINED})[:-50])
    assert (found.values, found.whole) == ({TYPE: [TRAINED]}, False)


def test_bounds_of_values_and_packets():
    many = read_xmp(described("<d:description><r:Bag>" + "<r:li>x</r:li>" * (MAX_VALUES + 1) + "</r:Bag></d:description>"))
    assert many.values == {"dc:description": ["x"] * MAX_VALUES} and many.whole
    long = read_xmp(described(f"<d:description>{'y' * (MAX_CHARACTERS + 1)}</d:description>"))
    assert long.values == {"dc:description": ["y" * MAX_CHARACTERS]}
    assert read_xmp(xmp(attributes={TYPE: TRAINED}).ljust(MAX_PACKET + 1)).whole is False


@settings(max_examples=20_000 if SOAK else 300, deadline=None)
@given(st.data())
def test_damage_never_raises_and_takes_no_time(data):
    whole = bytearray(xmp(attributes={TYPE: TRAINED}, elements={"xmp:CreatorTool": "T"}, described="d", more=history("A", "B")))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"<", b">", b"&", b"\0", b"\xff", b'"', b"<!DOCTYPE", b"]]>", b"/"])
        )
    start = time.thread_time()
    found = read_xmp(bytes(whole))
    assert time.thread_time() - start < 0.1
    assert all(value and isinstance(value, str) for values in found.values.values() for value in values)


@settings(max_examples=5_000 if SOAK else 200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes(data):
    read_xmp(data)
    read_xmp(described("").replace(b"</r:Description>", data + b"</r:Description>"))
