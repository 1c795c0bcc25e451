"""All the evidence of one image from the bytes as they came, and as the text that a pool keeps where it does not keep these bytes."""

import hashlib
import json
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from quality.evidence.carriers import can_carry_watermark, watermark_fields
from quality.evidence.manifest import ManifestReader
from quality.evidence.reading import evidence_of

READER: Final = "reader"  # beside the fields: the version of what read them
_REVISION: Final = "2"  # raised when the code, here or in quality.evidence, would read otherwise


def model_of(anchors: str | None) -> str:
    """What policies name, so that they can tell pools and passes with different trust lists apart: "metadata", "metadata+trust-1a2b3c4d".

    anchors: the PEM text of the trust list (quality.evidence.manifest.read_anchors); None: there is none.
    """
    return "metadata" + ("" if anchors is None else "+trust-" + hashlib.sha256(anchors.encode()).hexdigest()[:8])


def version_of(anchors: str | None) -> str:
    """The whole version of a reader of original bytes: another may read otherwise."""
    library = ".".join(version("c2pa-python").split(".")[:2])
    return f"{model_of(anchors)}@{_REVISION};half;c2pa{library}+opencv"


class OriginalReader:
    """anchors: PEM of the C2PA trust list; None: nobody is trusted. Not for several threads at once."""

    def __init__(self, anchors: str | None = None):
        self._manifests = ManifestReader(anchors)
        self._version = version_of(anchors)

    def read(self, data: bytes, pixels: np.ndarray | None = None) -> str:
        """The fields of the scorer `evidence`, as JSON with sorted keys, those that say nothing left out.

        pixels: upright, of any scale, where somebody has decoded them; None: they are decoded if need be. The same text either way.
        Measured, one core: 0.03 ms of metadata, 1 ms of a manifest; of pixels that may carry a watermark, a JPEG's decoding at half size (1 ms of
        960x720), and a quarter of that to search them.
        """
        found = evidence_of(data, self._manifests)
        if can_carry_watermark(data):
            found |= watermark_fields(data, pixels)
        told = {name: value for name, value in found.items() if value is not None}
        return json.dumps({**told, READER: self._version}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def fields_in(text: str | None) -> dict[str, Any]:
    """The fields that :meth:`OriginalReader.read` gave; {} for None."""
    return {} if text is None else {name: value for name, value in json.loads(text).items() if name != READER}
