"""Counts of a ledger, by verdict: words, reasons, duties, evidence."""

import json
from collections import Counter
from typing import Any, Final

import numpy as np

from quality.report.ledger import Ledger, split_by
from quality.report.model import Split

_NSFW_BANDS: Final = (0.2, 0.5, 0.8)  # Open-NSFW's authors: below 0.2 safe, above 0.8 unsafe; 0.5 as in quality.report.pairs


def words_of(ledger: Ledger, name: str, rows: np.ndarray) -> list[Split]:
    """By word, commonest first; what was not measured last."""
    words = ledger.words[name]
    counts = split_by(ledger, words.codes + 1, rows, len(words.values) + 1)
    found = [Split(label, *map(int, row)) for label, row in zip([None, *words.values], counts, strict=True) if row.any()]
    return sorted(found, key=lambda split: (split.label is None, -split.n, split.label or ""))


def mining_of(ledger: Ledger) -> list[Split]:
    """What files say of mining. A file that was read and says nothing is another thing than one that was not read."""
    mining, read = ledger.words["evidence.mining"], ledger.words.get("evidence.c2pa")
    silent = ledger.fetched & (mining.codes < 0) & (False if read is None else read.codes >= 0)
    everyone = np.zeros(len(ledger), np.int64)
    quiet = Split("says nothing", *map(int, split_by(ledger, everyone, silent, 1)[0]))
    told = words_of(ledger, "evidence.mining", ledger.fetched & ~silent)
    return sorted([*told, *([quiet] if quiet.n else [])], key=lambda split: (split.label is None, -split.n, split.label or ""))


def reasons_of(ledger: Ledger) -> list[Split]:
    everyone = np.zeros(len(ledger), np.int64)
    found = [Split(reason, *map(int, split_by(ledger, everyone, ledger.has(reason), 1)[0])) for reason in ledger.reasons]
    return sorted(found, key=lambda split: (-split.n, split.label or ""))


def alone_of(ledger: Ledger) -> dict[str, int]:
    """Of each reason the dropped pairs that have no other."""
    dropped = ledger.verdict == 2
    alone = {reason: ledger.mask == np.uint64(1 << bit) for bit, reason in enumerate(ledger.reasons)}
    return {reason: int((rows & dropped).sum()) for reason, rows in alone.items()}


def obligations_of(ledger: Ledger) -> list[Split]:
    found: dict[str, Counter[str]] = {}
    for split in words_of(ledger, "license.obligations", ledger.fetched):
        for duty in (split.label or "").split("|") if split.label is not None else ():
            counts = found.setdefault(duty or "none", Counter())
            counts.update({side: getattr(split, side) for side in ("keep", "review", "drop", "undecided")})
    return sorted((Split(duty, **counts) for duty, counts in found.items()), key=lambda split: (-split.n, split.label or ""))


def nsfw_of(ledger: Ledger) -> list[Split]:
    if "nsfw.open_nsfw" not in ledger.numbers:
        return [Split(None, *map(int, split_by(ledger, np.zeros(len(ledger), np.int64), ledger.fetched, 1)[0]))]
    values = ledger.numbers["nsfw.open_nsfw"]
    codes = np.where(np.isnan(values), len(_NSFW_BANDS) + 1, np.digitize(values, np.array(_NSFW_BANDS, values.dtype)))
    counts = split_by(ledger, codes, ledger.fetched, len(_NSFW_BANDS) + 2)
    labels = ["< 0.2", "0.2 – 0.5", "0.5 – 0.8", "≥ 0.8", None]
    return [Split(label, *map(int, row)) for label, row in zip(labels, counts, strict=True) if label is not None or row.any()]


def signals_of(ledger: Ledger) -> list[dict[str, Any]]:
    """Kinds of evidence: in how many pairs, and how often the band would be another without it."""
    if "deepfake.evidence" not in ledger.words:
        return []
    texts, bands = ledger.words["deepfake.evidence"], ledger.words["deepfake.band"]
    measured = texts.codes >= 0
    size = len(bands.values) + 1
    counts = np.bincount(texts.codes[measured].astype(np.int64) * size + bands.codes[measured] + 1, minlength=len(texts.values) * size)
    kept = np.bincount(texts.codes[measured & (ledger.verdict == 0)], minlength=len(texts.values))
    found: dict[str, dict[str, Any]] = {}
    for code, text in enumerate(texts.values):
        for piece in json.loads(text)["pieces"]:
            one = found.setdefault(
                piece["signal"],
                {**{key: piece[key] for key in ("signal", "group", "score")}, "llr": [], "n": 0, "kept": 0, "decides": 0},
            )
            one["llr"].append(piece["llr"])
            one["kept"] += int(kept[code])
            for band in range(size):
                n = int(counts[code * size + band])
                one["n"] += n
                if band and piece["counts"] and piece["band_without"] != bands.values[band - 1]:
                    one["decides"] += n
    for one in found.values():
        one["llr"] = (min(one["llr"]), max(one["llr"]))
    return sorted(found.values(), key=lambda one: (-one["n"], one["signal"]))
