"""What stands in a file's metadata, brought together: one value a field, whatever the number of places that say something."""

import json
from collections.abc import Iterable
from typing import Any, Final

from quality.evidence import generators
from quality.evidence.exif import Exif, read_exif
from quality.evidence.iim import Iim, read_iim
from quality.evidence.manifest import MAX_STORE, Manifest, ManifestReader
from quality.evidence.manifest import PROBLEMS as MANIFEST_PROBLEMS
from quality.evidence.segments import Segments, read_segments
from quality.evidence.text import LONG, cleaned
from quality.evidence.xmp import AI_FIELDS, Xmp, read_xmp

_SIGNALS: Final = 32  # of mining that are kept; all of them decide
_UNSPECIFIED: Final = "plus:DMI-UNSPECIFIED"  # which decides nothing
_STRUCTURES: Final = 4  # EXIF structures, XMP packets, blocks of IIM that are read, of each

# IPTC's list (cv.iptc.org/newscodes/digitalsourcetype), the most generated first. A word that is not in it comes last.
SOURCE_TYPES: Final = (
    "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia", "dataDrivenMedia",
    "virtualRecording", "composite", "compositeCapture", "humanEdits", "algorithmicallyEnhanced", "minorHumanEdits", "softwareImage", "digitalArt",
    "digitalCreation", "screenCapture", "print", "positiveFilm", "negativeFilm", "computationalCapture", "digitalCapture",
)  # fmt: skip
PROBLEMS: Final = MANIFEST_PROBLEMS | {
    "c2pa-remote": "XMP points to a manifest elsewhere, which is not fetched",
    "exif": "an EXIF structure is damaged",
    "iim": "a block of IPTC-IIM is damaged",
    "segments": "there are more segments than are read",
    "size": "there is more metadata than is read",
    "text": "a compressed text of a PNG does not inflate",
    "truncated": "the bytes end before the metadata does",
    "xmp": "an XMP packet is not well-formed, or longer than is read",
    "xmp-entities": "an XMP packet has a document type, which is refused",
}


def evidence_of(data: bytes, manifests: ManifestReader) -> dict[str, Any]:
    """The fields of the scorer `evidence` but those of the watermark, by name. Never raises for what stands in the bytes."""
    read = _Read(data, manifests)
    manifest = read.manifest
    found = _generators(read)
    generator = found[0][0] if found else None
    camera = None if any(place in ("exif:Make", "exif:Model") for _, place in found) else _camera(read)
    source_type, source_type_in = _source_type(read)
    mining, signals = _mining(read)
    return {
        "c2pa": manifest.state,
        "c2pa_generator": _short(manifest.generator),
        "source_type": source_type,
        "source_type_in": source_type_in,
        "ai_fields": _ai_fields(read),
        "generator": generator,
        "generator_in": "|".join(dict.fromkeys(place for tool, place in found if tool == generator)) or None,
        "camera": camera,
        "camera_fields": len(set().union(*(exif.camera for exif in read.exifs))),
        "editor": _editor(read, generator, camera),
        "gps": any(exif.gps for exif in read.exifs) or bool(read.xmp("exif:GPSLatitude") and read.xmp("exif:GPSLongitude")),
        "mining": mining,
        "mining_signals": signals,
        "problems": _problems(read),
    }


def mining_signals(data: bytes, manifests: ManifestReader) -> dict[str, bool]:
    """What a file says of its own mining: {signal: whether it allows it}, what decides nothing left out. Never raises, see evidence_of."""
    signals = _signals(_Read(data, manifests))
    return {cleaned(signal): allows for signal, allows in signals.items() if signal != _UNSPECIFIED}


class _Read:
    """What the readers found in a file."""

    def __init__(self, data: bytes, manifests: ManifestReader):
        self.segments: Segments = read_segments(data)
        self.exifs: list[Exif] = [read_exif(tiff) for tiff in self.segments.exif[:_STRUCTURES]]
        self.xmps: list[Xmp] = [read_xmp(packet) for packet in self.segments.xmp[:_STRUCTURES]]
        self.iims: list[Iim] = [read_iim(block) for block in self.segments.iim[:_STRUCTURES]]
        self.manifest = _manifest(data, self.segments, manifests)
        self.texts = dict(reversed(self.segments.texts))  # of two with one keyword, the first

    def xmp(self, name: str) -> list[str]:
        return [value for xmp in self.xmps for value in xmp.values.get(name, ())]

    def iim(self, name: str) -> list[str]:
        return [value for iim in self.iims for value in iim.values.get(name, ())]

    def exif(self, name: str) -> list[str]:
        return [exif.texts[name] for exif in self.exifs if name in exif.texts]


def _manifest(data: bytes, segments: Segments, manifests: ManifestReader) -> Manifest:
    if segments.c2pa and segments.c2pa_bytes > MAX_STORE:
        segments.note("size")
        return Manifest("unreadable", problems={"c2pa-unreadable"})
    return manifests.read(data) if segments.c2pa else Manifest()


def _short(text: str | None) -> str | None:
    return None if text is None else cleaned(text) or None


def _source_type(read: _Read) -> tuple[str | None, str | None]:
    said = {"c2pa": read.manifest.source_types}
    said["xmp"] = [value.rstrip("/").rpartition("/")[2] for value in read.xmp("Iptc4xmpExt:DigitalSourceType")]
    said = {place: [word for word in (cleaned(value) for value in values) if word] for place, values in said.items()}
    words = {word for values in said.values() for word in values}
    if not words:
        return None, None
    strongest = min(words, key=lambda word: (SOURCE_TYPES.index(word) if word in SOURCE_TYPES else len(SOURCE_TYPES), word))
    return strongest, "|".join(place for place in ("c2pa", "xmp") if strongest in said[place])


def _ai_fields(read: _Read) -> str | None:
    found = {name: cleaned(values[0], LONG) for name in AI_FIELDS if (values := read.xmp("Iptc4xmpExt:" + name))}
    found = {name: value for name, value in found.items() if value}
    return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else None


def _generators(read: _Read) -> list[generators.Found]:
    """(tool, place): first forms that only a generator writes, then names."""
    found = [*generators.in_png_text(read.texts)]
    found += [one for exif in read.exifs for one in generators.in_exif(exif.texts)]
    texts = [("jpeg:comment", comment) for comment in read.segments.comments]
    texts += [("xmp:" + name.partition(":")[2], value) for name in ("dc:description", "exif:UserComment") for value in read.xmp(name)]
    texts += [("iim:Caption", value) for value in read.iim("Caption")]
    found += [(tool, place) for place, text in texts for tool in generators.in_free_text(text)]
    found += [("aigc-label", "xmp:AIGC") for value in read.xmp("TC260:AIGC") if '"Label"' in value]
    names = [("c2pa:softwareAgent", agent) for agent in read.manifest.agents]
    names += [("c2pa:claim_generator", read.manifest.generator or ""), ("png:Software", read.texts.get("Software", ""))]
    names += [("xmp:CreatorTool", value) for value in read.xmp("xmp:CreatorTool")]
    names += [("xmp:AISystemUsed", value) for value in read.xmp("Iptc4xmpExt:AISystemUsed")]
    names += [("iim:OriginatingProgram", value) for value in read.iim("OriginatingProgram")]
    found += [(tool, place) for place, text in names for tool in generators.named(text)]
    credits = [("xmp:Credit", value) for value in read.xmp("photoshop:Credit")] + [("iim:Credit", value) for value in read.iim("Credit")]
    return found + [(tool, place) for place, text in credits for tool in generators.credited(text)]


def _camera(read: _Read) -> str | None:
    makes, models = read.exif("Make"), read.exif("Model")
    make, model = (cleaned(values[0]) if values else "" for values in (makes, models))
    return _short(model if model.lower().startswith(make.lower()) else f"{make} {model}")


def _editor(read: _Read, generator: str | None, camera: str | None) -> str | None:
    """A well-known editor wherever programs are named; else what Software or CreatorTool have, unless it is a generator or firmware."""
    programs = [*read.exif("Software"), *read.xmp("xmp:CreatorTool"), *read.iim("OriginatingProgram")]
    programs += [read.texts["Software"]] if "Software" in read.texts else []
    history = [*read.xmp("stEvt:softwareAgent"), *read.manifest.agents, read.manifest.generator or ""]
    comments = [comment for comment in (*read.segments.comments, read.texts.get("Comment", "")) if comment.startswith("Created with ")]
    known = [text for text in (*programs, *history, *comments) if generators.is_editor(text) and not any(generators.named(text))]
    if known:
        return _short(known[0])
    others = [text for text in programs if not any(generators.named(text)) and any(letter.isalpha() for letter in text)]
    return _short(others[0]) if others and camera is None and generator is None else None


def _mining(read: _Read) -> tuple[str | None, str | None]:
    """(state, signals)."""
    signals = _signals(read)
    deciding = [allowed for signal, allowed in signals.items() if signal != _UNSPECIFIED]
    state = None if not deciding else "allowed" if all(deciding) else "disallowed"
    return state, _joined(sorted(cleaned(signal).replace("|", " ") for signal in signals)[:_SIGNALS])


def _signals(read: _Read) -> dict[str, bool]:
    """{signal: whether it allows mining}. `constrained` reads as not allowed, and so does every DMI-PROHIBITED of PLUS."""
    signals = {f"{label}:{entry}={use}": use == "allowed" for label, entry, use in read.manifest.uses}
    for value in read.xmp("plus:DataMining"):
        word = cleaned(value.rstrip("/").rpartition("/")[2])
        if word.startswith("DMI-"):
            signals["plus:" + word] = word == "DMI-ALLOWED"
    return signals


def _problems(read: _Read) -> str | None:
    found = {*read.segments.problems, *read.manifest.problems}
    if any(len(parts) > _STRUCTURES for parts in (read.segments.exif, read.segments.xmp, read.segments.iim)):
        found.add("segments")
    found |= {"exif"} if not all(exif.whole for exif in read.exifs) else set()
    found |= {"iim"} if not all(iim.whole for iim in read.iims) else set()
    found |= {"xmp-entities"} if any(xmp.refused for xmp in read.xmps) else set()
    found |= {"xmp"} if not all(xmp.whole or xmp.refused for xmp in read.xmps) else set()
    if read.manifest.state == "none" and any(value.startswith(("http:", "https:")) for value in read.xmp("dcterms:provenance")):
        found.add("c2pa-remote")
    return _joined(found)


def _joined(words: Iterable[str]) -> str | None:
    return "|".join(sorted(words)) or None
