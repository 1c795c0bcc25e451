"""The language of captions, by py3langid (BSD-3-Clause, code and model; 139 languages; naive Bayes over byte n-grams)."""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numba import njit
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from schemas.columns import field

UNDETERMINED: Final = "und"  # ISO 639-2
_LEAST: Final = 0.2  # of confidence; py3langid's documentation abstains below it in its example


class Language:
    """`caption.language` and its confidence from the column `caption`; null where the caption is null.

    Short captions are uncertain. Of the sample's 404 English captions of one or two words 8 % are `en` and 86 % undetermined; of the 74 of
    six words or more 91 % are `en`. Costs 3.5 s of CPU time a million captions (measured; seven times less than py3langid's own loop), so it
    is a function of its own: nothing of it runs unless a policy names a column of it.
    """

    name, version = "caption.language", "py3langid-0.4;1"
    needs: tuple[str, ...] = ("caption",)
    fields: Final = pa.schema(
        [
            field("caption.language", pa.string(), meaning=f"ISO 639; zxx: no language; {UNDETERMINED}: confidence below {_LEAST}"),
            field(
                "caption.language_confidence",
                pa.float32(),
                range=(0, 1),
                better="higher",
                meaning="py3langid's probability of the likeliest language; low for short captions",
            ),
        ]
    )

    def compute(self, table: pa.Table, fields: Sequence[str] | None = None) -> pa.Table:
        """One row per row of `table`, the columns `fields` (all if None)."""
        wanted = self.fields.names if fields is None else list(fields)
        captions = table.column("caption").cast(pa.string()).to_pylist()
        codes, confidence = identify([caption for caption in captions if caption is not None])
        sure = np.where(confidence < _LEAST, len(_model().labels), codes)
        named = pa.array([*_model().labels, UNDETERMINED], pa.string()).take(pa.array(sure))
        known = np.array([caption is not None for caption in captions], bool)
        told = pa.array(np.cumsum(known) - 1, pa.int64(), mask=~known)
        made = {"caption.language": named, "caption.language_confidence": pa.array(confidence.round(4), pa.float32())}
        return pa.table([made[name].take(told) for name in wanted], schema=pa.schema([self.fields.field(name) for name in wanted]))


class _Model:
    """py3langid's model as arrays for a compiled loop: its own walks each caption's bytes in Python."""

    def __init__(self) -> None:
        library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self.labels: list[str] = library.nb_classes
        first = {label: len(self.labels) - 1 - at for at, label in enumerate(reversed(self.labels))}
        self.same = np.array([first[label] for label in self.labels])  # a language in two scripts is two classes of one label
        self.state: tuple[Any, ...] = (
            np.asarray(library.tk_nextmove),
            np.asarray(library.tk_row),
            np.asarray(library.tk_output),
            np.ascontiguousarray(library.nb_ptc, np.float32),
            np.asarray(library.nb_pc, np.float32),
        )


@cache
def _model() -> _Model:
    return _Model()


def identify(captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(index into the model's labels, confidence 0..1) of each caption."""
    model = _model()
    texts = [_encoded(caption) for caption in captions]
    ends = np.cumsum([0, *map(len, texts)])
    scores = np.empty((len(texts), len(model.labels)), np.float32)
    moves, rows, outputs, weights, priors = model.state
    _score(np.frombuffer(b"".join(texts), np.uint8), ends, moves, rows, outputs, weights, priors, scores)
    scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    for at, first in enumerate(model.same):
        if first != at:
            scores[:, first] += scores[:, at]
            scores[:, at] = 0
    return scores.argmax(axis=1), scores.max(axis=1, initial=0)


def _encoded(caption: str) -> bytes:
    """As py3langid reads a text."""
    return unicodedata.normalize("NFC", caption.lower() if caption.isupper() else caption).encode("utf-8", "surrogatepass")


@njit(nogil=True, cache=True)
def _score(data, ends, moves, rows, outputs, weights, priors, scores):
    """Log-posteriors over the root of the length, which is py3langid's calibration; all zero for a text without a known n-gram."""
    counts = np.zeros(len(weights), np.int32)
    seen = np.empty(len(data) + 1, np.int32)
    for text in range(len(ends) - 1):
        state, distinct = 0, 0
        for at in range(ends[text], ends[text + 1]):
            state = moves[(rows[state] << 8) + data[at]]
            feature = outputs[state]
            if feature >= 0:
                if counts[feature] == 0:
                    seen[distinct] = feature
                    distinct += 1
                counts[feature] += 1
        scale = np.float32(1 / math.sqrt(max(1, ends[text + 1] - ends[text])))
        for label in range(len(priors)):
            scores[text, label] = priors[label] if distinct else 0
        for place in range(distinct):
            weight = np.float32(math.log1p(counts[seen[place]]))
            counts[seen[place]] = 0
            for label in range(len(priors)):
                scores[text, label] += weight * weights[seen[place], label]
        for label in range(len(priors)):
            scores[text, label] *= scale
