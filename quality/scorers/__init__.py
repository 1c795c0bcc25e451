"""The packaged scorers, and how a user's own are found."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from quality.deepfake import NamesError, ProbeError
from quality.embedded_clip import EMBEDDED_MODEL_NAME
from quality.engines import Tower
from quality.evidence.manifest import TrustError
from quality.scorers.clip import Clip
from quality.scorers.deepfake import Deepfake
from quality.scorers.embed import Embed, ModelError
from quality.scorers.evidence import Evidence, StoredEvidence
from quality.scorers.faces import Faces
from quality.scorers.image import Image
from quality.scorers.nsfw import Nsfw
from quality.scorers.nsfw_head import HeadError
from quality.scorers.protocol import Scorer

DEFAULT: Final = ("embed", "clip", "nsfw", "image", "faces", "evidence", "deepfake")
PACKAGED: Final = DEFAULT  # all of them, since each costs less than `embed`


class ScorerError(Exception):
    """A scorer cannot be had; the message says which, why, and what to do."""


def make_scorers(
    names: Sequence[str] = DEFAULT,
    *,
    model: str = EMBEDDED_MODEL_NAME,
    pretrained: str | None = None,
    label: str | None = None,
    engines: Mapping[str, str] | None = None,
    cache: Path | None = None,
    nsfw_head: str | Path | None = None,
    person_names: str | Path | None = None,
    deepfake_probe: str | Path | None = None,
    c2pa_trust: Path | None = None,
    evidence_read_as: str | None = None,
) -> list[Scorer]:
    """Scorers by name: packaged ones, or "package.module:Class" for a user's own, made without arguments.

    model, pretrained, label: for `embed`, see there; `clip` follows it. engines: by tower (pool/engines.json); those not named run on their
    reference. nsfw_head: for `nsfw`; c2pa_trust, or, where fetching has read the evidence, evidence_read_as: for `evidence`;
    person_names, deepfake_probe: for `deepfake`; see there. Nothing is loaded. Raises ScorerError.
    """

    def embed() -> Embed:
        return Embed(model=model, pretrained=pretrained, label=label, engines=engines, cache=cache)

    def evidence() -> Scorer:
        return Evidence(c2pa_trust) if evidence_read_as is None else StoredEvidence(evidence_read_as)

    packaged: dict[str, Callable[[], Scorer]] = {
        "embed": embed,
        "clip": lambda: Clip(embed_version=embed().version),
        "nsfw": lambda: Nsfw(engines=engines, head=nsfw_head, embedding=embed().version if nsfw_head else None),
        "image": Image,
        "faces": Faces,
        "evidence": evidence,
        "deepfake": lambda: Deepfake(
            of=[evidence().version, Faces().version, Image.version],
            person_names=person_names,
            probe=deepfake_probe,
            embedding=embed().version if deepfake_probe else None,
        ),
    }
    found: list[Scorer] = []
    for name in names:
        if ":" in name:
            found.append(load_scorer(name))
            continue
        if name not in packaged:
            raise ScorerError(f"unknown scorer {name!r}; packaged: {', '.join(packaged)}; your own: package.module:Class")
        try:
            found.append(packaged[name]())
        except (ModelError, HeadError, NamesError, ProbeError, TrustError) as error:
            raise ScorerError(f"scorer {name}: {error}") from error
    double = sorted({scorer.name for scorer in found if sum(other.name == scorer.name for other in found) > 1})
    if double:
        raise ScorerError(f"two scorers are called {', '.join(double)}; their columns would be the same")
    return found


def load_scorer(spec: str) -> Scorer:
    """An instance of a user's "package.module:Class". Raises ScorerError."""
    module, _, name = spec.partition(":")
    try:
        scorer = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ScorerError(
            f"scorer {spec}: {error}; write package.module:Class, importable here and on workers, made without arguments"
        ) from error
    missing = [attribute for attribute in ("name", "version", "needs", "fields", "load", "score") if not hasattr(scorer, attribute)]
    if missing:
        raise ScorerError(f"scorer {spec} has no {', '.join(missing)}; see quality.scorers.protocol.Scorer")
    return scorer


def towers_of(scorers: Sequence[Scorer]) -> list[Tower]:
    """The models of the scorers that an engine is to be chosen for."""
    return [tower for scorer in scorers for tower in getattr(scorer, "towers", list)()]
