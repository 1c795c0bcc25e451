"""What a file says of where it came from: EXIF, XMP, IPTC, C2PA, the forms of generators, watermarks. One pass over the original bytes."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from quality.evidence.manifest import ManifestReader, read_anchors
from quality.evidence.reading import PROBLEMS, evidence_of
from quality.evidence.watermark import LEAST_PIXELS, SCHEMES, decode_halved, halved
from quality.images.decode import ImageError, decode_at_least
from quality.images.header import read_header
from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.rounding import rounded
from schemas.columns import field

MOST_PIXELS: Final = 2048 * 2048  # of what is searched for a watermark: the largest that the tools which write one make
_REVISION: Final = "2"  # raised when the code, here or in quality.evidence, would read otherwise


class Evidence:
    """trust: a PEM file of C2PA trust anchors; without one no signer is trusted. Raises TrustError (quality.evidence.manifest)."""

    name = "evidence"
    needs: tuple[str, ...] = ()
    side = SIDE
    fields = pa.schema(
        [
            field("c2pa", pa.string(), meaning="C2PA manifest: none, trusted, untrusted (not on the trust list, or no list), invalid, unreadable"),
            field("c2pa_generator", pa.string(), meaning="claim generator of the manifest, with its version, whatever its state"),
            field("source_type", pa.string(), meaning="IPTC digital source type, its last path word; of several, the most generated"),
            field("source_type_in", pa.string(), meaning="where that stands: c2pa, xmp"),
            field("ai_fields", pa.string(), meaning="AI fields of IPTC 2025.1 in XMP, as JSON with sorted keys"),
            field("generator", pa.string(), meaning="the generator that wrote the file, by its own form of metadata or by name"),
            field("generator_in", pa.string(), meaning="where that stands, joined by |; what stands in c2pa is as good as the state of the manifest"),
            field("watermark", pa.string(), meaning=f"invisible watermark: {', '.join(SCHEMES)}"),
            field("watermark_agree", pa.float32(), meaning="share of the watermark's bits that agree; null without one", range=(0, 1)),
            field("camera", pa.string(), meaning="Make and Model of EXIF"),
            field("camera_fields", pa.int16(), meaning="EXIF tags that taking a photograph leaves: exposure, lens, sensor, time", range=(0, None)),
            field("editor", pa.string(), meaning="program that the picture was edited or drawn with"),
            field("gps", pa.bool_(), meaning="whether a position is stored"),
            field("mining", pa.string(), meaning="may the file be mined, as it says itself: allowed, disallowed (the most restrictive word counts)"),
            field("mining_signals", pa.string(), meaning="all such words, sorted, joined by |"),
            field("problems", pa.string(), meaning=f"what could not be read or does not hold, joined by |: {', '.join(sorted(PROBLEMS))}"),
        ]
    )  # fmt: skip

    def __init__(self, trust: Path | None = None):
        self._anchors = None if trust is None else read_anchors(trust)
        # A policy can tell passes with different lists apart: "evidence:metadata", "evidence:metadata+trust-1a2b3c4d".
        listed = "" if self._anchors is None else "+trust-" + hashlib.sha256(self._anchors.encode()).hexdigest()[:8]
        library = ".".join(version("c2pa-python").split(".")[:2])
        self.version = f"metadata{listed}@{_REVISION};half;c2pa{library}+opencv"

    def load(self) -> None:
        self._manifests = ManifestReader(self._anchors)

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """All null for a pair without bytes. Bytes that are no JPEG, PNG or WebP have no evidence, whatever they are."""
        rows = [{} if data is None else evidence_of(data, self._manifests) for data in batch.data]
        for number, mark in enumerate(self._watermarks(batch)):
            rows[number] |= mark
        columns = {f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in self.fields}
        columns["watermark_agree"] = rounded([row.get("watermark_agree") for row in rows])
        return pa.record_batch(columns, schema=self.fields)

    def _watermarks(self, batch: PairBatch) -> list[dict[str, Any]]:
        """Of each row."""
        carriers = [data is not None and can_carry_watermark(data) for data in batch.data]
        if not any(carriers):
            return [{} for _ in carriers]
        found = []
        for data, shared, carries in zip(batch.data, batch.pixels(side=SIDE), carriers, strict=True):
            half = _at_half(data, shared) if carries and data is not None and shared is not None else None
            mark = None if half is None else decode_halved(half)
            found.append({} if mark is None else {"watermark": mark.scheme, "watermark_agree": mark.agree / mark.bits})
        return found


def can_carry_watermark(data: bytes) -> bool:
    """Whether an image may still have the blocks in which the tools wrote a watermark: a width that they make, which is a multiple of 8 and
    dies with scaling and with a cut at the sides, not turned by its metadata, no larger than they make.
    """
    header = read_header(data)
    if header is None or header.orientation != 1 or header.animated or header.width % 8:
        return False
    return LEAST_PIXELS <= header.width * header.height <= MOST_PIXELS


def _at_half(data: bytes, shared: np.ndarray) -> np.ndarray | None:
    """An upright image at half its size, as decode_halved takes it: from the pixels that scorers share where these are whole or halved, else
    decoded for it. None for an image that can be decoded at the one scale and not at the other.
    """
    header = read_header(data)
    assert header is not None
    whole, half = (header.height, header.width), ((header.height + 1) // 2, header.width // 2)
    halves = (half, (header.height // 2, header.width // 2))  # a JPEG of odd height is rounded up
    jpeg = header.format == "jpeg"
    if shared.shape[:2] in halves:
        return shared
    if shared.shape[:2] != whole or jpeg:
        try:
            shared = decode_at_least(data, header, half if jpeg else None)
        except ImageError:
            return None
    return shared if shared.shape[:2] in halves else halved(shared) if shared.shape[:2] == whole else None
