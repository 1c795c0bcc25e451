"""Personal data in captions. The numbers here are published examples, ranges kept for fiction, placeholders, or of people born in 1900 or 2099."""

import string
from datetime import datetime
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.columns.identifiers import KINDS, is_card, is_resident, plain, spans
from quality.columns.personal_data import PersonalData, find, redacted, without_personal_data
from tests.conftest import SOAK

# A caption, and the caption without its personal data.
POSITIVES = {
    "Contact hong@example.com for prints": "Contact [e-mail] for prints",
    "이메일은 kim.gildong@example.co.kr입니다": "이메일은 [e-mail]입니다",
    "first.last+tag@mail.example.org.": "[e-mail].",
    "<JOHN_DOE@EXAMPLE.COM>": "<[e-mail]>",
    "a@example.net,b@example.net": "[e-mail],[e-mail]",
    "mailto:info@studio-example.photography": "mailto:[e-mail]",
    "hello@example.ai": "[e-mail]",
    "사진 문의 hong＠example.com": "사진 문의 [e-mail]",
    "o'brien@example.com": "[e-mail]",
    "Call 415-555-0123 today": "Call [phone] today",
    "(415) 555-0123": "[phone]",
    "(415)555-0123": "[phone]",
    "1-415-555-0123": "[phone]",
    "415.555.0123": "[phone]",
    "+1 415 555 0123": "[phone]",
    "+1 (415) 555-0123, open daily": "[phone], open daily",
    "+1 (41) 55 (55) 01 23": "[phone]",
    "tel: 4155550123": "tel: [phone]",
    "Phone number: 415 555 0123": "Phone number: [phone]",
    "010-1234-5678": "[phone]",
    "꽃배달 010 1234 5678 서울": "꽃배달 [phone] 서울",
    "전화010.1234.5678": "전화[phone]",
    "01012345678": "[phone]",
    "０１０－１２３４－５６７８": "[phone]",
    "02-123-4567/010-1234-5678": "[phone]/[phone]",
    "02)123-4567": "[phone]",
    "(031) 123-4567": "[phone]",
    "070-1234-5678 인터넷전화": "[phone] 인터넷전화",
    "0505-123-4567": "[phone]",
    "+82 10-1234-5678 2026년": "[phone] 2026년",
    "+821012345678": "[phone]",
    "+82-(0)2-123-4567": "[phone]",
    "0082-10-1234-5678": "[phone]",
    "문의: 02 123 4567": "문의: [phone]",
    "020 7946 0958": "[phone]",
    "+44 20 7946 0958": "[phone]",
    "(020) 7946 0958": "[phone]",
    "03-1234-5678 東京": "[phone] 東京",
    "090-1234-5678": "[phone]",
    "06 12 34 56 78": "[phone]",
    "06.12.34.56.78": "[phone]",
    "138-0013-8000": "[phone]",
    "+49 30 23125 123": "[phone]",
    "☎ 030 23125123": "☎ [phone]",
    "4111 1111 1111 1111": "[card]",
    "card 4111-1111-1111-1111 exp 12/30": "card [card] exp 12/30",
    "2019 4111 1111 1111 1111 2020": "2019 [card] 2020",
    "5555555555554444": "[card]",
    "3782 822463 10005": "[card]",
    "6011111111111117": "[card]",
    "3530111333300000": "[card]",
    "30569309025904": "[card]",
    "2223003122003222": "[card]",
    "GB82 WEST 1234 5698 7654 32": "[iban]",
    "IBAN GB82WEST12345698765432 thanks": "IBAN [iban] thanks",
    "DE89370400440532013000": "[iban]",
    "FR14 2004 1010 0505 0001 3M02 606": "[iban]",
    "NO93 8601 1117 947 Oslo": "[iban] Oslo",
    "MT84MALT011000012345MTLCAST001S": "[iban]",
    "990101-3234564": "[id]",
    "991231-4000010 홍길동": "[id] 홍길동",  # no check digit since October 2020
    "000101-1234564": "[id]",
    "0001011234564": "[id]",
    "000101-5234567": "[id]",
    "201005-3123456": "[id]",
    "주민등록번호 000101-1234565": "주민등록번호 [id]",
    "외국인등록번호: 000101-5234568": "외국인등록번호: [id]",
    "SSN 123-45-6789": "SSN [id]",
    "hong@example.com, 010-1234-5678, 4111111111111111": "[e-mail], [phone], [card]",
}

NEGATIVES = [
    "",
    "a red heart",
    "빨간 하트",
    "follow @username on the web",
    "3 apples @ 2.50 each",
    "logo@2x.png",
    "icon-512@3x.JPG",
    "user@localhost",
    "@font-face sample 12345",
    "name@example.",
    "maps/@37.5665,126.9780,17z",
    "ISBN 978-3-16-148410-0",
    "ISBN 9783161484100",
    "ISBN 978-89-374-6079-2",
    "ISBN-10: 0-306-40615-2",
    "ISBN 0140449132",
    "ISSN 2049-3630",
    "EAN 4006381333931",
    "EAN 8801043014816",
    "EAN 8801231234563",
    "doi:10.1000/182.2026.11",
    "arXiv:1907.05047",
    "1914-1918",
    "1999 2000 2001 2002 2003",
    "1939-1945, 1950-1953",
    "2026-11-24",
    "24.11.2026 10:55:35",
    "2026-11-24T10:55:35.123456Z",
    "20261124105535",
    "IMG_20261124_105535.jpg",
    "Wed Aug 25 23:29:46 2004",
    "00:12:33,500 --> 00:12:36,000",
    "the score was 10-2, then 110-102-98",
    "$1,234,567.89",
    "₩12,345,678",
    "1 234 567 890 won",
    "€ 1.234.567,89",
    "37.5665, 126.9780",
    "37.566535, 126.9779692",
    "40°26'46\"N 79°58'56\"W",
    "1920x1080 3840 x 2160",
    "300 250 1000 mm",
    "192.168.100.200",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "v1.2.3.4567 build 20261124",
    "SKU 415-5550-123",
    "part no. AB-415-555-0123",
    "order #415-555-0123",
    "/photo/415-555-0123/large",
    "stock photo 1234567890",
    "shutterstock_4155550123",
    "image id=4155550123",
    "4155550123",
    "0014155550123",
    "415-555-0123-4567",
    "4111111111111111.25",
    "123-456-7890",
    "000-12-3456",
    "666-12-3456",
    "900-12-3456",
    "123-00-4567",
    "123-45-0000",
    "078-05-1120",
    "123-45-67890",
    "4111 1111 1111 1112",
    "4111111111111111111111",
    "1234 5678 9012 3452",
    "9781 1111 1111 1115",
    "photo 1234567812345670 of 20",
    "GB82 WEST 1234 5698 7654 33",
    "ZZ82 WEST 1234 5698 7654 32",
    "DE8937040044053201300",
    "DE893704004405320130000",
    "991301-3234564",
    "990230-3234564",
    "000101-1234565",
    "990101-9234564",
    "0001011234565",
    "201004-3123456",
    "01 02 03 04 05",
    "06 07 08 09 10",
    "3.14159265358979",
    "0.123456789012",
    "0.4111111111111111",
    "6f1ed002ab5595859014ebf0951522d9",
    "550e8400-e29b-41d4-a716-446655440000",
    "NGC 7293 1998 2004",
    "Boeing 737-800 737-8000",
    "population 51,709,098 (2026)",
    "5th Ave, New York, NY 10001-1234",
    "call of duty 2019",
    "phone 1234",
    "1588-1234",
]


@pytest.mark.parametrize(("caption", "clean"), POSITIVES.items())
def test_what_is_personal_is_found_and_taken_out(caption, clean):
    assert redacted(pa.array([caption])).to_pylist() == [clean]
    kinds = [kind for kind in KINDS if f"[{kind}]" in clean]
    assert kinds and find(pa.array([caption])).to_pylist() == ["|".join(kinds)]


@pytest.mark.parametrize("caption", NEGATIVES)
def test_what_only_looks_like_it_is_left_alone(caption):
    assert find(pa.array([caption])).to_pylist() == [""]
    assert redacted(pa.array([caption])).to_pylist() == [caption]


def test_nulls_stay_null_and_rows_keep_their_places():
    captions = pa.array([None, "010-1234-5678", "none", None, "hong@example.com 010-1234-5678"])
    assert find(captions).to_pylist() == [None, "phone", "", None, "e-mail|phone"]
    assert redacted(captions).to_pylist() == [None, "[phone]", "none", None, "[e-mail] [phone]"]
    assert find(captions.slice(1, 2)).to_pylist() == ["phone", ""]
    for nothing in (pa.array([], pa.string()), pa.nulls(3, pa.string())):
        assert find(nothing).equals(nothing) and redacted(nothing).equals(nothing)


def test_as_a_column_function():
    column = pa.chunked_array([["010-1234-5678"], ["x", None]], pa.string())
    table = PersonalData().compute(pa.table({"caption": column}))
    assert table.schema.equals(PersonalData.fields) and table["caption.personal_data"].to_pylist() == ["phone", "", None]
    assert PersonalData().compute(pa.table({"caption": column}), ["caption.personal_data"]).equals(table)
    assert PersonalData().compute(pa.table({"caption": pa.chunked_array([], pa.string())})).num_rows == 0
    large = pa.table({"caption": pa.array(["hong@example.com"], pa.large_string())})
    assert PersonalData().compute(large)["caption.personal_data"].to_pylist() == ["e-mail"]


def test_text_of_every_shape_is_redacted_in_its_own_type():
    mail, text = "hong@example.com", pa.string()
    shapes = {
        "string": pa.array([mail, None, "x"]),
        "large": pa.array([mail, None, "x"], pa.large_string()),
        "view": pa.array([mail, None, "x"], pa.string_view()),
        "dictionary": pa.array([mail, None, "x"]).dictionary_encode(),
        "list": pa.array([[mail, None], None, []]),
        "fixed": pa.array([[mail, "x"], None, ["x", None]], pa.list_(text, 2)),
        "struct": pa.array([{"a": mail, "n": 1}, None, {"a": None, "n": None}]),
        "map": pa.array([[("k", mail)], None, []], pa.map_(text, text)),
        "deep": pa.array([[{"a": [mail], "t": datetime(2026, 1, 2)}], None, []]),
        "bytes": pa.array([mail.encode(), None, b"x"]),
        "number": pa.array([4111111111111111, None, 1]),
    }
    table = pa.table(shapes | {"url": pa.array([mail, None, "x"]), "told": pa.array([mail, None, "x"])})
    clean = without_personal_data(table, but=["told"])
    assert clean.schema.equals(table.schema, check_metadata=True)
    expected = repr(table.to_pylist()[0]).replace(f"'{mail}'", "'[e-mail]'")
    for stays in ("url", "told"):
        expected = expected.replace(f"'{stays}': '[e-mail]'", f"'{stays}': '{mail}'").replace("b'[e-mail]'", f"b'{mail}'")
    assert repr(clean.to_pylist()[0]) == expected
    assert clean.slice(1).to_pylist() == table.slice(1).to_pylist()
    halves = pa.concat_tables([table.slice(1), table.slice(0, 1)])
    assert without_personal_data(halves, but=["told"]).to_pylist() == [*clean.to_pylist()[1:], clean.to_pylist()[0]]


def test_check_digits_catch_every_wrong_digit():
    for number, valid in (("4111111111111111", is_card), ("0001011234564", lambda digits: is_resident(digits, checked=True))):
        assert valid(number)
        wrong = [number[:-1] + digit for digit in string.digits if digit != number[-1]]
        assert not any(valid(digits) for digits in wrong)


def test_residents_born_before_and_after_the_check_digit_went():
    assert not is_resident("2010043123456", checked=True) and is_resident("2010053123456", checked=True)
    assert not is_resident("2010051123456", checked=True)  # 1920
    assert is_resident("2010041123456", checked=False) and not is_resident("2013041123456", checked=False)


pieces = st.sampled_from(
    [
        "hong@example.com",
        "010-1234-5678",
        "4111 1111 1111 1111",
        "990101-3234564",
        "123-45-6789",
        "+82 10-1234-5678",
        "GB82WEST12345698765432",
    ]
) | st.text(st.sampled_from("0123456789 -.()+@/,aZ가０－"), max_size=12)


@settings(max_examples=3000 if SOAK else 150, deadline=None)
@given(st.lists(pieces, max_size=6).map(" ".join))
def test_any_text(text):
    """Spans are in order and apart; what is looked for one by one is found in bulk; and nothing is left after taking out."""
    found = spans(plain(text))
    assert all(0 <= start < end <= len(text) and kind in KINDS for start, end, kind in found)
    assert all(one[1] <= two[0] for one, two in pairwise(found))
    assert find(pa.array([text])).to_pylist() == ["|".join(kind for kind in KINDS if kind in {one[2] for one in found})]
    clean = redacted(pa.array([text])).to_pylist()[0]
    assert clean.count("[") == len(found)
