"""Where in a text stand e-mail addresses, telephone numbers, payment cards, bank accounts and national ids that hold up to their own rules.

A shape alone is not enough: web captions are full of product codes, dates, prices, ISBNs and stock numbers. What has check digits must pass them;
a telephone number must be one that its country gives out (phonenumbers, Apache-2.0, after Google's libphonenumber).
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import Final

import phonenumbers

KINDS: Final = ("e-mail", "phone", "card", "iban", "id")

_PLAIN: Final = str.maketrans("０１２３４５６７８９＠．＋（）－‐‑‒–—−\u00a0\u3000", "0123456789@.+()-------  ")  # one for one: places stay
_WIDE: Final = re.compile(f"[{''.join(map(chr, _PLAIN))}]")
# A number stands alone: not part of a word, of a decimal, of a price, of a path.
_BEFORE: Final = r"(?<![0-9A-Za-z_@#$€£¥₩+=-])(?<![0-9][.,])(?<![A-Za-z_.=-]/)"
_AFTER: Final = r"(?![0-9A-Za-z_%]|[.-][0-9])"
Span = tuple[int, int]


def spans(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind of KINDS) of each find in a `plain` text, in order, none inside another."""
    found: list[tuple[int, int, str]] = []
    for kind, finder in (("e-mail", _emails), ("iban", _ibans), ("card", _cards), ("id", _ids), ("phone", _phones)):
        for start, end in finder(text):
            if all(end <= other or start >= other_end for other, other_end, _ in found):
                found.append((start, end, kind))
    return sorted(found)


def plain(text: str) -> str:
    """Full-width digits and signs, the many dashes and spaces as ASCII has them; every character stays in its place."""
    return text.translate(_PLAIN) if _WIDE.search(text) else text


def _alone(shape: str) -> re.Pattern[str]:
    return re.compile(f"{_BEFORE}(?:{shape}){_AFTER}", re.ASCII)


def _scan(pattern: re.Pattern[str], text: str, holds: Callable[[re.Match[str]], bool]) -> Iterator[Span]:
    """Where the pattern matches and `holds` says so; a match that does not hold may hide one that begins inside it."""
    at = 0
    while match := pattern.search(text, at):
        held = holds(match)
        at = match.end() if held else match.start() + 1
        if held:
            yield match.span()


# ---- e-mail

_EMAIL_SHAPE: Final = r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}"
_EMAIL: Final = re.compile(f"(?<![A-Za-z0-9._%+'-]){_EMAIL_SHAPE}(?![A-Za-z0-9@-])")
# Ends of file names that are no top-level domains: "logo@2x.png".
_FILE: Final = re.compile(r".*\.(?:png|jpe?g|gif|webp|svg|bmp|tiff?|ico|heic|avif|mp[34]|pdf|psd|eps|css|js|html?|php)", re.I)


def _emails(text: str) -> Iterator[Span]:
    return _scan(_EMAIL, text, lambda match: not _FILE.fullmatch(match[0])) if "@" in text else iter(())


# ---- payment cards (ISO/IEC 7812)

_CARD_SHAPE: Final = r"(?:\d{4}[ -]){3}\d{4}(?:[ -]\d{3})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{14,19}"
_CARD: Final = _alone(_CARD_SHAPE)
# Issuers' prefixes (first, last, inclusive) and lengths. Visa's 13 digits are not issued any more, and many bar codes start with 4.
_ISSUERS: Final = (
    (4, 4, (16, 19)), (51, 55, (16,)), (2221, 2720, (16,)), (34, 34, (15,)), (37, 37, (15,)), (6011, 6011, (16, 19)), (644, 659, (16, 19)),
    (3528, 3589, (16, 19)), (300, 305, (14, 16)), (36, 36, (14, 16)), (38, 39, (14, 16)), (62, 62, (16, 17, 18, 19)),
)  # fmt: skip


def _cards(text: str) -> Iterator[Span]:
    return _scan(_CARD, text, lambda match: is_card(re.sub(r"\D", "", match[0])))


def is_card(digits: str) -> bool:
    """Whether digits are a payment card's number: issuer's prefix and length, and Luhn's check digit."""
    issued = any(first <= int(digits[: len(str(first))]) <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)
    odd, even = digits[-1::-2], digits[-2::-2]
    return issued and (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0


# ---- bank accounts (ISO 13616)

_IBAN_SHAPE: Final = r"[A-Z]{2}\d{2}[0-9A-Z ]{11,40}"
_IBAN: Final = re.compile(f"(?<![0-9A-Za-z]){_IBAN_SHAPE}")
# Length by country: SWIFT's IBAN registry.
_IBAN_COUNTRIES: Final = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL", 19: "MK SI", 20: "AT BA EE KZ LT LU XK", 21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "PT ST", 26: "IS TR", 27: "FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB PL SV", 29: "BR PS QA UA", 30: "JO KW MU", 31: "MT", 32: "LC",
}  # fmt: skip
_IBAN_LENGTHS: Final = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[0][:2])
        ends = [place + 1 for place, letter in enumerate(match[0]) if letter != " "]
        if length is None or len(ends) < length:
            continue
        end = ends[length - 1]
        after = text[match.start() + end :]
        number = match[0][:end].replace(" ", "")
        if not re.match("[0-9A-Za-z]", after) and int("".join(str(int(letter, 36)) for letter in number[4:] + number[:4])) % 97 == 1:
            yield match.start(), match.start() + end


# ---- national ids

_RRN_SHAPE, _SSN_SHAPE = r"\d{6}-?[1-8]\d{6}", r"\d{3}-\d{2}-\d{4}"
_RRN, _SSN = _alone(_RRN_SHAPE), _alone(_SSN_SHAPE)
_RRN_WORD: Final = re.compile(r"(?:주민|등록번호)[^0-9]{0,12}$")
# Areas, groups and serials that the Social Security Administration never gives out, and two it voided that were printed in advertisements.
_NO_SSN: Final = re.compile(r"(?:000|666|9..)-.*|...-00-.*|.*-0000|078-05-1120|219-09-9999")


def _ids(text: str) -> Iterator[Span]:
    yield from _scan(_RRN, text, _is_resident)
    yield from _scan(_SSN, text, lambda match: not _NO_SSN.fullmatch(match[0]))


def _is_resident(match: re.Match[str]) -> bool:
    hyphen, digits = "-" in match[0], match[0].replace("-", "")
    announced = hyphen and _RRN_WORD.search(match.string, max(0, match.start() - 20), match.start()) is not None
    return is_resident(digits, checked=not announced) and (hyphen or not _is_bar_code(digits))


def is_resident(digits: str, *, checked: bool) -> bool:
    """Whether 13 digits are a Korean resident or foreigner registration number: date of birth, century and sex, check digit.

    Numbers given out since 5 October 2020 end in six digits of chance (enforcement rule of the Resident Registration Act, article 2): births from
    then on pass without a check digit, all do where not `checked`.
    """
    kind = int(digits[6])
    try:
        born = date((1900 if kind in (1, 2, 5, 6) else 2000) + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))
    except ValueError:
        return False
    if not checked or born >= date(2020, 10, 5):
        return True
    total = sum(int(digit) * weight for digit, weight in zip(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False))
    return ((13 if kind >= 5 else 11) - total % 11) % 10 == int(digits[12])


def _is_bar_code(digits: str) -> bool:
    """EAN-13, whose check digit one in ten numbers passes."""
    return sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10 == 0


# ---- telephone

_INTERNATIONAL_SHAPE: Final = r"(?:\+ ?\(?|00)[1-9](?:[ .()-]{0,2}\d){6,18}"
_NATIONAL_SHAPES: Final = {
    "US": r"(?:1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])\d{3}[-.]\d{4}",  # and all of the North American plan
    "KR": r"\(?0(?:2|[13-7]\d|50\d|80)(?:\)[-. ]?|[-. ]{1,2})\d{3,4}[-. ]\d{4}|010\d{8}",
    "JP": r"\(?0\d{1,4}\)?-?\d{1,4}-\d{4}",
    "GB": r"\(?0\d{2,4}\)? \d{3,4}(?: ?\d{3,4})",
    "FR": r"0[1-9](?:[ .]\d\d){4}",
    "CN": r"1[3-9]\d-\d{4}-\d{4}",
}
_ANNOUNCED_SHAPE: Final = (
    r"(?:(?i:\b(?:tel|telephone|phone|mobile|call|fax|whatsapp)\b)|연락처|전화|휴대폰|핸드폰|문의|팩스|☎|📞|📱)[^0-9A-Za-z+]{0,4}"
    r"(?:(?i:\b(?:number|no|us|at)\b|번호)[^0-9A-Za-z+]{0,3})?(\(?\d(?:[ .()-]{0,2}\d){7,14})"
)
_INTERNATIONAL: Final = re.compile(_BEFORE + _INTERNATIONAL_SHAPE, re.ASCII)
_NATIONAL: Final = {region: _alone(shape) for region, shape in _NATIONAL_SHAPES.items()}
_ANNOUNCED: Final = re.compile(_ANNOUNCED_SHAPE + _AFTER, re.ASCII)
_REGIONS: Final = ("KR", "US", "JP", "GB", "FR", "CN", "DE")
_COUNTING: Final = ("01 02 03 04 05", "02 03 04 05 06", "05 06 07 08 09", "06 07 08 09 10")


def _phones(text: str) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        number = match[0]
        while number and not _given_out(number, None):  # what follows may be another number
            number = re.sub(r"[ .()-]+\d*$|^[+0-9]*$", "", number)
        if number:
            yield match.start(), match.start() + len(number)
    for region, pattern in _NATIONAL.items():
        yield from _scan(pattern, text, partial(_is_national, region))
    for match in _ANNOUNCED.finditer(text):
        if any(_given_out(match[1], region) for region in _REGIONS):
            yield match.span(1)


def _is_national(region: str, match: re.Match[str]) -> bool:
    return _given_out(match[0], region)


def _given_out(number: str, region: str | None) -> bool:
    """region: the country that a national number is of; None: of a number with "+" or "00" and the country's code, the latter with a gap after it."""
    if number.replace(".", " ") in _COUNTING or (number.startswith("00") and not re.match(r"00\d{1,3}[ -]", number)):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(re.sub("^00", "+", number) if region is None else number, region))
    except phonenumbers.NumberParseException:
        return False


SHAPES: Final = "|".join(  # RE2 too; a `plain` text that has none of them has no spans
    (_EMAIL_SHAPE, _CARD_SHAPE, _IBAN_SHAPE, _RRN_SHAPE, _SSN_SHAPE, _INTERNATIONAL_SHAPE, *_NATIONAL_SHAPES.values(), _ANNOUNCED_SHAPE)
)
