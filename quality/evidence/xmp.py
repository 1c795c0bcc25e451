"""XMP: the properties that say where an image came from (ISO 16684-1; IPTC Photo Metadata 2025.1). Entities are refused; never raises.

Without a document type there are no entities but XML's five: expat is stopped at the first `<!DOCTYPE`, before anything can be defined.
"""

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

MAX_PACKET: Final = 1 << 20  # bytes; a JPEG segment holds 65,502
MAX_ELEMENTS: Final = 20_000
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 64  # of one property
MAX_CHARACTERS: Final = 1 << 16  # of one value
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_DESCRIPTION, _ROOT, _RESOURCE, _VALUE = (_RDF + name for name in ("Description", "RDF", "resource", "value"))
_SPACES: Final = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://www.tc260.org.cn/ns/AIGC/1.0/": "TC260",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
}
AI_FIELDS: Final = ("AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "AIPromptWriterName")  # Iptc4xmpExt, since 2025.1
WANTED: Final = frozenset({
    "dc:description", "dcterms:provenance", "exif:UserComment", "exif:GPSLatitude", "exif:GPSLongitude", "Iptc4xmpExt:DigitalSourceType",
    "photoshop:Credit", "plus:DataMining", "TC260:AIGC", "xmp:CreatorTool", *("Iptc4xmpExt:" + name for name in AI_FIELDS),
})  # fmt: skip
_AGENT, _HISTORY = "stEvt:softwareAgent", "xmpMM:History"


@dataclass
class Xmp:
    """values: of the properties in WANTED, by name, in order, not empty; and of `stEvt:softwareAgent`, the agents of the history."""

    values: dict[str, list[str]] = field(default_factory=dict)
    whole: bool = True  # False: not well-formed, or more than is read
    refused: bool = False  # a document type, with which entities could be defined

    def first(self, name: str) -> str | None:
        return next(iter(self.values.get(name, ())), None)


class _Stop(Exception):
    """Ends parsing."""


def read_xmp(packet: bytes) -> Xmp:
    """The wanted properties of a packet, UTF-8 or UTF-16; of a damaged one, those before the damage.

    Only properties of the image itself count: those of an `rdf:Description` right below `rdf:RDF`, not of an ingredient within.
    """
    found = Xmp()
    text = packet[:MAX_PACKET].decode("utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace").strip("\0 \r\n\t\ufeff")
    reader = _Reader(found)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, reader.refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, _Stop):
        found.whole = False
    found.whole = found.whole and len(packet) <= MAX_PACKET
    return found


class _Reader:
    """expat's handlers. path: names of the open elements, as _name has them."""

    def __init__(self, found: Xmp):
        self._found = found
        self._path: list[str] = []
        self._elements = 0
        self._collecting: str | None = None
        self._depth = 0  # of the element that is collected
        self._parts: list[str] = []
        self._length = 0

    def refuse(self, *_) -> None:
        self._found.refused = True
        raise _Stop

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._path) >= MAX_DEPTH:
            raise _Stop
        name = _name(tag)
        if self._collecting is None:
            about = bool(self._path) and self._path[-1] == _ROOT
            if about and tag == _DESCRIPTION:
                for attribute, value in attributes.items():
                    self._add(_name(attribute), value)
            elif name in WANTED and self._path[-2:] == [_ROOT, _DESCRIPTION]:
                self._collecting, self._depth = name, len(self._path)
            elif _HISTORY in self._path:
                for attribute, value in attributes.items():
                    if _name(attribute) == _AGENT:
                        self._add(_AGENT, value)
                if name == _AGENT:
                    self._collecting, self._depth = name, len(self._path)
        if self._collecting is not None:
            for attribute in (_RESOURCE, _VALUE):
                self._add(self._collecting, attributes.get(attribute, ""))
        self._path.append(name)

    def text(self, data: str) -> None:
        if self._collecting is not None and self._length < MAX_CHARACTERS:
            self._parts.append(data)
            self._length += len(data)

    def end(self, _: str) -> None:
        self._path.pop()
        if self._collecting is None:
            return
        self._add(self._collecting, "".join(self._parts))  # of an array, one value an item
        self._parts, self._length = [], 0
        if len(self._path) == self._depth:
            self._collecting = None

    def _add(self, name: str, value: str) -> None:
        if (name in WANTED or name == _AGENT) and value.strip():
            values = self._found.values.setdefault(name, [])
            if len(values) < MAX_VALUES:
                values.append(value.strip()[:MAX_CHARACTERS])


def _name(tag: str) -> str:
    """`prefix:name` for the spaces that are known, whatever prefix the packet has; else as expat gives it, "space name"."""
    space, _, local = tag.rpartition(" ")
    prefix = _SPACES.get(space)
    return tag if prefix is None else f"{prefix}:{local}"
