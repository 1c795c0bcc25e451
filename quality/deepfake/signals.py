"""From stored columns of one pair to signals (quality.deepfake.table says what each weighs)."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from quality.deepfake.arithmetic import Case, Signal
from quality.deepfake.table import (
    CAMERA_FIELDS,
    CAPTURED_TYPES,
    FACE_LARGE,
    FACE_MEDIUM,
    FACE_SURE,
    GENERATED_TYPES,
    GENERATOR_SIDES,
    SAYS_GENERATED,
    WEIGHTS,
)

# Stored columns that the signals are made from.
COLUMNS: Final = (
    "evidence.c2pa", "evidence.source_type", "evidence.source_type_in", "evidence.ai_fields", "evidence.generator", "evidence.generator_in",
    "evidence.watermark", "evidence.watermark_agree", "evidence.camera", "evidence.camera_fields", "evidence.gps",
    "evidence.problems",
    "faces.count", "faces.largest_share", "faces.score", "image.width", "image.height",
)  # fmt: skip
_SAYS_GENERATED: Final = re.compile(SAYS_GENERATED)


def case_of(row: Mapping[str, Any], *, caption: str | None, named: bool, probe_llr: float | None) -> Case:
    """row: COLUMNS by name. caption: normalised (quality.columns.caption). named: whether it has a name of the user's list. probe_llr:
    the learned probe's ratio, None when there is none."""
    found = [*_declared(row), *_traces(row), *_camera(row)]
    if probe_llr is not None:
        found.append(Signal("synthetic", "probe", "probe", probe_llr))
    if caption is not None and _SAYS_GENERATED.search(caption):
        found.append(_signal("caption_says_generated"))
    width, height = row["image.width"], row["image.height"]
    if width in GENERATOR_SIDES and height in GENERATOR_SIDES:
        found.append(_signal("generator_sides", f"{width}x{height}"))
    found += _face(row)
    if named:
        found.append(_signal("name_in_caption"))
    faces = None
    if row["faces.count"] is not None:
        share = row["faces.largest_share"]
        faces = (row["faces.count"], share, (share * (width or 0) * (height or 0)) ** 0.5)
    return Case(tuple(found), faces)


def _signal(name: str, detail: str | None = None) -> Signal:
    weight = WEIGHTS[name]
    return Signal(weight.score, weight.group, name, weight.llr, detail)


def _declared(row: Mapping[str, Any]) -> list[Signal]:
    state, kind = _state(row), row["evidence.source_type"]
    places = (row["evidence.source_type_in"] or "").split("|")
    says = "ai" if kind in GENERATED_TYPES else "capture" if kind in CAPTURED_TYPES else None
    found = []
    if state in ("trusted", "untrusted", "invalid"):
        name = f"c2pa_{state}_{says}" if says and "c2pa" in places else f"c2pa_{state}"
        found.append(_signal(name if name in WEIGHTS else "c2pa_invalid" if state == "invalid" else "c2pa_silent", kind))
    elif state == "unreadable":
        found.append(_signal("c2pa_unreadable"))
    if says and "xmp" in places:
        found.append(_signal(f"xmp_{says}", kind))
    if row["evidence.ai_fields"]:
        found.append(_signal("iptc_ai_fields", ", ".join(sorted(json.loads(row["evidence.ai_fields"])))))
    return found


def _state(row: Mapping[str, Any]) -> str:
    """Of the manifest. One that is intact and whose certificate ran out is as good as a stranger's."""
    problems = {problem for problem in (row["evidence.problems"] or "").split("|") if problem.startswith("c2pa-")}
    return "untrusted" if row["evidence.c2pa"] == "invalid" and problems == {"c2pa-certificate-expired"} else row["evidence.c2pa"]


def _traces(row: Mapping[str, Any]) -> list[Signal]:
    found = []
    if row["evidence.generator"]:
        places = row["evidence.generator_in"] or "metadata"
        # What the manifest alone names is as good as the manifest, and kin to what it declares.
        name = "generator_metadata"
        if all(place.startswith("c2pa") for place in places.split("|")):
            name = "c2pa_invalid_generator" if _state(row) == "invalid" else "c2pa_generator"
        found.append(_signal(name, f"{row['evidence.generator']} in {places}"))
    if row["evidence.watermark"]:
        agree = row["evidence.watermark_agree"]
        found.append(_signal("watermark", f"{row['evidence.watermark']}{'' if agree is None else f', {agree:.0%} of its bits'}"))
    return found


def _camera(row: Mapping[str, Any]) -> list[Signal]:
    found = []
    if row["evidence.camera"]:
        full = (row["evidence.camera_fields"] or 0) >= CAMERA_FIELDS
        found.append(_signal("camera_fields" if full else "camera_name", row["evidence.camera"]))
    if row["evidence.gps"]:
        found.append(_signal("gps"))
    return found


def _face(row: Mapping[str, Any]) -> list[Signal]:
    count, share, score = row["faces.count"], row["faces.largest_share"], row["faces.score"]
    if not count:
        return []  # BlazeFace misses small faces: none found is no evidence of none
    size = "large" if share >= FACE_LARGE else "medium" if share >= FACE_MEDIUM else "small"
    name = f"face_{size if score >= FACE_SURE else 'unsure'}"
    return [_signal(name, f"{count} face{'s' if count > 1 else ''}, the largest {share:.1%} of the picture")]
