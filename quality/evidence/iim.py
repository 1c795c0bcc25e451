"""IPTC-IIM in Photoshop's image resources (IPTC-NAA IIM 4.2; Adobe Photoshop File Formats): a few data sets of record 2. Never raises."""

from dataclasses import dataclass, field
from typing import Final

from quality.evidence.text import decoded

MAX_SETS: Final = 1000  # of one resource
MAX_VALUES: Final = 64  # of one data set, whatever the number of resources
_IPTC: Final = 0x0404  # resource
_NAMES: Final = {65: "OriginatingProgram", 80: "By-line", 110: "Credit", 115: "Source", 120: "Caption"}  # 2:65 and so on


@dataclass
class Iim:
    """values: by data set's name, in order, not empty, the first MAX_VALUES."""

    values: dict[str, list[str]] = field(default_factory=dict)
    whole: bool = True  # False: a length leads out of the bytes, or there are more data sets than are read


def read_iim(resources: bytes) -> Iim:
    """The data sets in Photoshop image resources, the payload of JPEG's APP13 after its name."""
    found = Iim()
    at = 0
    while at + 4 < len(resources):
        if resources[at : at + 4] != b"8BIM" or at + 12 > len(resources):
            found.whole = False
            return found
        kind = int.from_bytes(resources[at + 4 : at + 6], "big")
        at += 6 + (resources[at + 6] + 2) // 2 * 2  # the resource's name, with its length even
        size = int.from_bytes(resources[at : at + 4], "big")
        if at + 4 + size > len(resources):
            found.whole = False
            return found
        if kind == _IPTC:
            _read_sets(resources[at + 4 : at + 4 + size], found)
        at += 4 + size + size % 2
    return found


def _read_sets(data: bytes, found: Iim) -> None:
    at = number = 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        number += 1
        record, kind, size = data[at + 1], data[at + 2], int.from_bytes(data[at + 3 : at + 5], "big")
        if size >= 0x8000 or at + 5 + size > len(data) or number > MAX_SETS:  # from 32,768 on lengths have a form of their own, unused
            found.whole = False
            return
        if record == 2 and kind in _NAMES and (text := decoded(data[at + 5 : at + 5 + size]).strip()):
            values = found.values.setdefault(_NAMES[kind], [])
            if len(values) < MAX_VALUES:
                values.append(text)
        at += 5 + size
