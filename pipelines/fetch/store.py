"""What of the bytes that came is stored, and what the row then says."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import ExifTags, Image, UnidentifiedImageError

from pipelines.fetch.client import refused_by
from pipelines.fetch.settings import FetchSettings
from quality.block_lists import LISTED, BlockLists
from quality.block_lists.match import Kind
from quality.evidence.carriers import can_carry_watermark
from quality.evidence.manifest import ManifestReader
from quality.evidence.original import OriginalReader
from quality.evidence.reading import mining_signals
from quality.images.convert import convert
from quality.images.decode import ImageError
from quality.images.header import excess_scans, read_header
from quality.optouts import DISALLOWED, state_of, text_of
from quality.scorers.batch import PairBatch
from quality.scorers.image import pdq_of

EXTENSIONS: Final = {"jpeg": "jpg", "png": "png", "gif": "gif", "webp": "webp", "bmp": "bmp", "tiff": "tif"}


@dataclass(slots=True)
class Outcome:
    """What fetching adds to a row, by RAW's names; offset is filled in when the bytes are written.

    blocked_by: the kind of block list, for the incident record alone. took: what the requests took, for their own table.
    """

    status: str
    error_message: str | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    format: str | None = None
    sha256: str | None = None
    exif: str | None = None
    evidence: str | None = None
    final_url: str | None = None
    offset: int | None = None
    size: int | None = None
    optout: str | None = None
    optout_signals: str | None = None
    blocked_by: Kind | None = None
    took: "Took | None" = None

    def say(self, signals: Mapping[str, bool]) -> "Outcome":
        """Notes what site and file say of mining; returns itself."""
        self.optout, self.optout_signals = state_of(signals), text_of(signals)
        return self


@dataclass(frozen=True, slots=True)
class Took:
    """What asking for an image took: the columns of schemas.columns.REQUESTS but `row`. began: Unix time in ms."""

    host: str
    began: int
    seconds: float
    requests: int
    bytes: int


def blocked(kind: Kind) -> Outcome:
    """The outcome of a pair that is on a list: nothing of it is told."""
    return Outcome("blocked", LISTED, blocked_by=kind)


class Readers:
    """Of what stands in bytes: for one thread. evidence: all of it, where settings want it kept."""

    def __init__(self, settings: FetchSettings):
        self.manifests = ManifestReader(settings.trust_anchors)
        self.evidence = OriginalReader(settings.trust_anchors) if settings.evidence else None


def stored_as_claimed(
    data: bytes,
    claims: Sequence[str | None],
    settings: FetchSettings,
    lists: BlockLists,
    *,
    final_url: str | None,
    readers: Readers,
    signals: Mapping[str, bool],
) -> list[tuple[Outcome, bytes | None]]:
    """What :func:`stored` says of a body, for each of the rows that have its url. claims: the SHA-256 (64 lower-case hex digits) that a row's
    source says the bytes have, or None.

    A domain that lapsed can be bought, and its old urls then serve what the buyer likes (data poisoning, arXiv 2302.10149): bytes with
    another digest than the row claims are not stored for that row, and where no row's claim fits, nothing but the lists looks at them.
    """
    digest = hashlib.sha256(data).hexdigest() if any(claims) else None
    fits = [claim is None or claim == digest for claim in claims]
    if any(fits):
        outcome, kept = stored(data, settings, lists, final_url=final_url, readers=readers, signals=signals, sha256=digest)
    else:
        kind = lists.kind_of_bytes(data)
        outcome, kept = (Outcome("failed_to_download") if kind is None else blocked(kind)), None
    found: list[tuple[Outcome, bytes | None]] = []
    for claim, fit in zip(claims, fits, strict=True):
        if fit or outcome.blocked_by is not None:
            found.append((replace(outcome), kept))
        else:
            differs = f"sha256: the source says {(claim or '')[:12]}, {(digest or '')[:12]} came"
            found.append((Outcome("failed_to_download", differs, final_url=final_url).say(signals), None))
    return found


def claims_of(source: pa.Table) -> list[str | None]:
    """The SHA-256 that each row's source says its bytes have, as :func:`stored_as_claimed` compares it."""
    return [(text or "").strip().lower() or None for text in source["expected_sha256"].to_pylist()]


def stored(
    data: bytes,
    settings: FetchSettings,
    lists: BlockLists,
    *,
    final_url: str | None,
    readers: Readers,
    signals: Mapping[str, bool],
    sha256: str | None = None,
) -> tuple[Outcome, bytes | None]:
    """The outcome for a body that came whole, and the bytes to store; None where it is no image that we take, on a list, or not to be mined.

    Lists of digests come before anything looks at the bytes, PDQ lists as soon as there are pixels. signals: what sites said of mining; what
    the bytes say comes to it. An image whose evidence cannot be read is not stored where the bytes are converted: nobody could look again.
    sha256: of data, when the caller has it at hand.
    """
    kind = lists.kind_of_bytes(data)
    if kind is not None:
        return blocked(kind), None
    header = read_header(data)
    if header is None:
        return Outcome("failed_to_download", "not_image", final_url=final_url), None
    width, height = header.width, header.height
    outcome = Outcome("success", None, width, height, width, height, header.format, final_url=final_url)
    if width * height > settings.max_pixels:
        outcome.status, outcome.error_message = "failed_to_resize", f"pixels: {width} x {height}"
        return outcome, None
    if (scans := excess_scans(data, header)) is not None:
        outcome.status, outcome.error_message = "failed_to_resize", f"work: {scans} scans of {width} x {height}"
        return outcome, None
    try:
        signals = {**signals, **mining_signals(data, readers.manifests)}
    except Exception as error:  # it is not to raise, whatever the bytes; should it, the row pays for it and not the unit
        outcome.status, outcome.error_message = "failed_to_resize", f"evidence: {type(error).__name__}"
        return outcome, None
    if outcome.say(signals).optout == DISALLOWED and settings.optouts == "obey":
        refused = refused_by(signals)
        return Outcome(refused.status, refused.message, final_url=final_url).say(signals), None
    if lists.decodes:
        [pixels] = (batch := PairBatch([None], [data], max_pixels=settings.max_pixels)).pixels()  # as the image scorer gets them
        if pixels is None:  # what cannot be held against the list is not stored
            [outcome.error_message] = batch.errors()
            outcome.status = "failed_to_resize"
            return outcome, None
        kind = lists.kind_of_picture(*pdq_of(pixels))
        if kind is not None:
            return blocked(kind), None
    outcome.sha256 = sha256 or hashlib.sha256(data).hexdigest()
    kept = data
    if settings.target is not None:
        decoded: list[np.ndarray] = []
        halved = readers.evidence is not None and can_carry_watermark(data)  # which is looked for at half the size
        try:
            converted = convert(data, settings.target, max_pixels=settings.max_pixels, decoded=decoded.append, halved=halved)
        except ImageError as error:
            outcome.status, outcome.error_message = "failed_to_resize", error.word
            return outcome, None
        if readers.evidence is not None:
            try:
                outcome.evidence = readers.evidence.read(data, next(iter(decoded), None))
            except Exception as error:  # it is not to raise, whatever the bytes; should it, the row pays for it and not the unit
                outcome.status, outcome.error_message = "failed_to_resize", f"evidence: {type(error).__name__}"
                return outcome, None
        kept = converted.data
        outcome.width, outcome.height, outcome.format = converted.width, converted.height, converted.format
        outcome.exif = exif_json(data)
    outcome.size = len(kept)
    return outcome, kept


def exif_json(data: bytes) -> str | None:
    """EXIF tags of an image as a JSON object of names and texts, main directory and its Exif directory; None where there are none."""
    if not _may_have_exif(data):
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            exif = image.getexif()
            tags: dict[int, Any] = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ):  # what Pillow raises for broken metadata
        return None
    named = {ExifTags.TAGS.get(tag, str(tag)): _text(value) for tag, value in tags.items()}
    return json.dumps(named, sort_keys=True, ensure_ascii=False) if named else None


def _may_have_exif(data: bytes) -> bool:
    """Whether it is worth while to let Pillow look: most images have none, and this is a hundred times cheaper."""
    if data.startswith(b"\xff\xd8"):
        start = 2
        while data[start : start + 1] == b"\xff" and data[start + 1 : start + 2] >= b"\xe0":  # APP0 to APP15 and comments come first
            if data[start + 4 : start + 8] == b"Exif":
                return True
            start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        return False
    return b"eXIf" in data or b"EXIF" in data or data.startswith((b"II*\0", b"MM\0*"))  # PNG, WebP, TIFF


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).replace("\0", "").strip()
