"""Deepfake risk: synthetic, likeness, enablement, a band, and the evidence for it. See quality.deepfake.

Evidence, not an oracle: what carries no trace reads "no evidence", never "real". Reads stored columns alone: no pixel, no byte.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quality.columns.caption import normalised_caption
from quality.deepfake import table
from quality.deepfake.arithmetic import BANDS, Judged, judge
from quality.deepfake.names import NamesError, PersonNames, names_digest, read_names
from quality.deepfake.probe import Probe, ProbeError, probe_digest, read_probe
from quality.deepfake.signals import COLUMNS, case_of
from quality.scorers.batch import PairBatch
from quality.scorers.clip import vectors
from quality.scorers.embed import without_engine
from quality.scorers.rounding import rounded
from schemas.columns import field

REVISION = "2"  # raised when the code gives other scores from the same table
_EMBEDDING = "embed.image"


class Deepfake:
    """of: versions of the scorers whose columns it reads; another of them gives other scores. person_names: a file of names, one a line.
    probe: a file that `python -m quality.probe` made; embedding: the version of the embeddings it will read. Both files are read on the
    machine that scores, and only their digests travel. Raises NamesError, ProbeError."""

    name = "deepfake"
    fields = pa.schema(
        [
            field(
                "synthetic", pa.float32(), range=(0, 1), better="lower", meaning="how probably generated or materially altered, by evidence"
            ),
            field("likeness", pa.float32(), range=(0, 1), better="lower", meaning="how probably an identifiable person is shown"),
            field(
                "enablement", pa.float32(), range=(0, 1), better="lower", meaning="how far training on it would help to fake that person"
            ),
            field("band", pa.string(), meaning=f"{', '.join(BANDS)}; none is no evidence, not a proof"),
            field("evidence", pa.string(), meaning="JSON: pieces with group, signal, llr and the band without it; groups without evidence"),
        ]
    )

    def __init__(
        self,
        *,
        of: Sequence[str] = (),
        person_names: str | Path | None = None,
        probe: str | Path | None = None,
        embedding: str | None = None,
    ):
        self._names_file = None if person_names is None else str(Path(person_names).absolute())
        self._probe_file = None if probe is None else str(Path(probe).absolute())
        self._digests = (None if person_names is None else names_digest(person_names), None if probe is None else probe_digest(probe))
        if person_names is not None:
            read_names(person_names)  # a list that cannot be used is told before the job starts
        if probe is not None:
            _check_embedding(probe, read_probe(probe), embedding)
        self.needs: tuple[str, ...] = COLUMNS if probe is None else (*COLUMNS, _EMBEDDING)
        names, learned = self._digests
        read = hashlib.sha256("\n".join(of).encode()).hexdigest()[:8]
        # Policies can tell them apart: "deepfake:evidence-sum", "deepfake:evidence-sum+probe-1a2b3c4d".
        model = "evidence-sum" + (f"+names-{names}" if names else "") + (f"+probe-{learned}" if learned else "")
        self.version = f"{model}@{_table_digest()};columns;of {read};{REVISION}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_names", "_probe")}

    def load(self) -> None:
        """Raises NamesError or ProbeError when a file is another than the one that the job began with."""
        if self._names_file is not None and names_digest(self._names_file) != self._digests[0]:
            raise NamesError(f"{self._names_file} was changed since the job began; put it back, or start again")
        if self._probe_file is not None and probe_digest(self._probe_file) != self._digests[1]:
            raise ProbeError(f"{self._probe_file} was changed since the job began; put it back, or start again")
        self._names = PersonNames(()) if self._names_file is None else read_names(self._names_file)
        self._probe = None if self._probe_file is None else read_probe(self._probe_file)

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        """All null for a pair without bytes; likeness and enablement null where faces were not measured."""
        columns = {name: batch.column(name).to_pylist() for name in COLUMNS}
        captions = normalised_caption(pa.array(batch.captions, pa.string())).to_pylist()
        learned = self._learned(batch)
        found: list[Judged | None] = []
        for row, caption in enumerate(batch.captions):
            values = {name: column[row] for name, column in columns.items()}
            if values["evidence.c2pa"] is None:
                found.append(None)
                continue
            case = case_of(values, caption=captions[row], named=self._names.in_caption(caption), probe_llr=learned[row])
            found.append(judge(case))
        numbers = [rounded([None if one is None else getattr(one, name) for one in found]) for name in self.fields.names[:3]]
        bands = pa.array([None if one is None else one.band for one in found], pa.string())
        told = pa.array([None if one is None else _told(one) for one in found], pa.string())
        return pa.record_batch([*numbers, bands, told], schema=self.fields)

    def _learned(self, batch: PairBatch) -> list[float | None]:
        if self._probe is None:
            return [None] * len(batch)
        embeddings = vectors(batch.column(_EMBEDDING))
        if not embeddings.shape[1]:  # all null
            return [None] * len(batch)
        return [None if np.isnan(llr) else float(llr) for llr in self._probe.evidence(embeddings)]


def _check_embedding(path: str | Path, probe: Probe, embedding: str | None) -> None:
    if embedding is None or without_engine(embedding) != probe.embedding:
        raise ProbeError(
            f"{path} was fitted on embeddings of {probe.embedding}, and those here are of {embedding and without_engine(embedding)}; "
            "use that --clip_model, or fit a probe on these: python -m quality.probe"
        )


def _told(judged: Judged) -> str:
    return json.dumps({"pieces": judged.pieces, "no_evidence": judged.no_evidence}, ensure_ascii=False, separators=(",", ":"))


def _table_digest() -> str:
    """Of every constant that a score hangs on."""
    constants = {name: value for name, value in vars(table).items() if name.isupper()}
    listed = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in constants.items()}
    listed["WEIGHTS"] = {name: [weight.score, weight.group, weight.llr] for name, weight in table.WEIGHTS.items()}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:8]
