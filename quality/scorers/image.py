"""What the pixels say without a model: sizes, detail, perceptual hashes, colours."""

from typing import Any

import cv2
import numpy as np
import pdqhash
import pyarrow as pa

from quality.images.header import read_header
from quality.scorers.batch import SIDE, PairBatch
from quality.scorers.rounding import DECIMALS
from schemas.columns import field

_DETAIL_SIDE = 256  # pixels of the smaller side at which detail is measured, so that a scan does not count as blurred for its size


class Image:
    """Measures the picture. Everything a later selection may want is here: pools need not be scored again for it."""

    name = "image"
    reads_captions = False
    needs: tuple[str, ...] = ()
    side = SIDE
    version = f"pixels@1;side{SIDE};opencv+pdqhash;1"
    fields = pa.schema(
        [
            field("width", pa.int32(), meaning="pixels, upright; from the header", range=(1, None)),
            field("height", pa.int32(), meaning="pixels, upright; from the header", range=(1, None)),
            field("smallest_side", pa.int32(), meaning="pixels, the smaller of width and height", range=(1, None), better="higher"),
            field("aspect", pa.float32(), meaning="longer side over shorter side", range=(1, None), better="lower"),
            field("bytes", pa.int64(), meaning="size of the stored file", range=(0, None), better="higher"),
            field(
                "sharpness",
                pa.float32(),
                meaning=f"variance of the Laplacian of the luma, smaller side at most {_DETAIL_SIDE} (Pech-Pacheco et al., 2000)",
                range=(0, None),
                better="higher",
            ),
            field("entropy", pa.float32(), meaning="bits of the luma's 256-bin histogram", range=(0, 8), better="higher"),
            field("pdq", pa.binary(32), meaning="PDQ hash (ThreatExchange), most significant bit first, as its hex notation"),
            field("pdq_quality", pa.int32(), meaning="PDQ quality; below 50 the hash says little", range=(0, 100), better="higher"),
            field("phash", pa.binary(8), meaning="DCT hash: 8x8 lowest frequencies of 32x32 luma above their median, row by row"),
            field("thumbnail", pa.binary(192), meaning="8x8 means of the picture in Lab, row by row, L a b as OpenCV's 8-bit scale"),
            field(
                "error", pa.string(), meaning="why the bytes cannot be decoded: undecodable, pixels or not_image, and details; else null"
            ),
        ]
    )

    def load(self) -> None:
        pass  # no model

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """All null for a pair without bytes. Bytes that cannot be decoded get `error`, and `bytes` and the header's sizes if there are."""
        rows = [
            {} if data is None else _of_bytes(data) | ({"error": error} if pixels is None else of_pixels(pixels))
            for data, pixels, error in zip(batch.data, batch.pixels(side=SIDE), batch.errors(side=SIDE), strict=True)
        ]
        return pa.record_batch([pa.array([row.get(f.name) for row in rows], f.type) for f in self.fields], schema=self.fields)


def _of_bytes(data: bytes) -> dict[str, Any]:
    header = read_header(data)
    if header is None:
        return {"bytes": len(data)}
    width, height = (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)
    smallest, longest = sorted((width, height))
    aspect = round(longest / smallest, DECIMALS)
    return {"width": width, "height": height, "smallest_side": smallest, "aspect": aspect, "bytes": len(data)}


def of_pixels(pixels: np.ndarray) -> dict[str, Any]:
    """The fields that come from pixels, of one image (RGB, uint8)."""
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    pdq, quality = pdq_of(pixels)
    return {
        "sharpness": round(float(cv2.Laplacian(_at_most(luma, _DETAIL_SIDE), cv2.CV_32F).var(dtype=np.float64)), DECIMALS),
        "entropy": _entropy(luma),
        "pdq": pdq,
        "pdq_quality": quality,
        "phash": _phash(luma),
        "thumbnail": cv2.cvtColor(cv2.resize(pixels, (8, 8), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB).tobytes(),
    }


def pdq_of(pixels: np.ndarray) -> tuple[bytes, int]:
    """(PDQ, most significant bit first; quality 0 to 100) of an image (RGB, uint8) as PairBatch gives it."""
    bits, quality = pdqhash.compute(np.ascontiguousarray(pixels))
    return np.packbits(bits.astype(np.uint8)).tobytes(), int(quality)


def _at_most(luma: np.ndarray, side: int) -> np.ndarray:
    """Scaled down, by area, so that the smaller side is `side`; never enlarged."""
    scale = side / min(luma.shape)
    if scale >= 1:
        return luma
    height, width = (max(side, round(length * scale)) for length in luma.shape)
    return cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)


def _entropy(luma: np.ndarray) -> float:
    counts = np.bincount(luma.ravel(), minlength=256)
    shares = counts[counts > 0] / luma.size
    return round(float(-(shares * np.log2(shares)).sum()) + 0.0, DECIMALS)  # + 0.0: one colour has 0 bits, not -0


def _phash(luma: np.ndarray) -> bytes:
    """Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), as COYO's key: median of the 64, DC included."""
    lowest = cv2.dct(cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))[:8, :8]
    return np.packbits(lowest > np.median(lowest)).tobytes()
