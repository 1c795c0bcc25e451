"""What a file says of where it came from: EXIF, XMP, IPTC, C2PA, the forms of generators, watermarks. One pass over the original bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from quality.evidence.carriers import can_carry_watermark, watermark_fields
from quality.evidence.manifest import ManifestReader, read_anchors
from quality.evidence.original import fields_in, version_of
from quality.evidence.reading import PROBLEMS, evidence_of
from quality.evidence.watermark import SCHEMES
from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.rounding import rounded
from schemas.columns import field

FIELDS: Final = pa.schema(
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


class Evidence:
    """From the stored bytes, which are those that came.

    trust: a PEM file of C2PA trust anchors; without one no signer is trusted. Raises TrustError (quality.evidence.manifest).
    """

    name = "evidence"
    reads_captions = False
    needs: tuple[str, ...] = ()
    side = SIDE
    fields = FIELDS

    def __init__(self, trust: Path | None = None):
        self._anchors = None if trust is None else read_anchors(trust)
        self.version = version_of(self._anchors)

    def load(self) -> None:
        self._manifests = ManifestReader(self._anchors)

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """All null for a pair without bytes. Bytes that are no JPEG, PNG or WebP have no evidence, whatever they are."""
        rows = [{} if data is None else evidence_of(data, self._manifests) for data in batch.data]
        for number, mark in enumerate(self._watermarks(batch)):
            rows[number] |= mark
        return _table(rows)

    def _watermarks(self, batch: PairBatch) -> list[dict[str, Any]]:
        """Of each row."""
        carriers = [data is not None and can_carry_watermark(data) for data in batch.data]
        if not any(carriers):
            return [{} for _ in carriers]
        return [
            watermark_fields(data, shared) if carries and data is not None and shared is not None else {}
            for data, shared, carries in zip(batch.data, batch.pixels(side=SIDE), carriers, strict=True)
        ]


class StoredEvidence:
    """From what fetching read and stored, in a pool that does not keep the bytes as they came. Reads no byte.

    read_as: the model of the reader (quality.evidence.original.model_of), which the pool was begun with.
    """

    name = "evidence"
    reads_captions = False
    needs: tuple[str, ...] = ()
    raw: tuple[str, ...] = ("evidence",)
    fields = FIELDS

    def __init__(self, read_as: str):
        # The whole version of the reader stands beside each pair's fields: what was read once is not read again when the code changes.
        self.version = f"{read_as}@read when fetched;1"

    def load(self) -> None:
        pass  # no model

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """All null for a pair without bytes, and for one of whose bytes nothing was read."""
        return _table([fields_in(text) for text in batch.column("evidence").to_pylist()])


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    columns = {f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in FIELDS}
    columns["watermark_agree"] = rounded([row.get("watermark_agree") for row in rows])
    return pa.record_batch(columns, schema=FIELDS)
