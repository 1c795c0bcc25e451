"""C2PA manifests, read and validated by c2pa-python (C2PA 2.x). Nothing is fetched: no remote manifest, no OCSP, no time stamp authority."""

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import c2pa

from quality.images.header import PNG_MAGIC

MAX_STORE: Final = 8 << 20  # bytes; c2pa needs 80 for one of CBOR (measured), so a store as large as images may be would end a worker
MAX_MANIFESTS: Final = 64  # looked at, of one store
MAX_AGENTS: Final = 64  # different ones, of one store
_SETTINGS: Final = {"verify": {"ocsp_fetch": False, "remote_manifest_fetch": False}}
_MIMES: Final = ((b"\xff\xd8\xff", "image/jpeg"), (PNG_MAGIC, "image/png"), (b"RIFF", "image/webp"))
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_STATES: Final = {"Trusted": "trusted", "Valid": "untrusted", "Invalid": "invalid"}
# Failure codes (C2PA 2.2, 15.2.2) that tell a changed picture from a changed manifest and from a certificate that no longer holds.
_CODES: Final = {
    "signingCredential.untrusted": None,  # that is the state
    "assertion.dataHash.mismatch": "c2pa-content-changed",
    "assertion.boxesHash.mismatch": "c2pa-content-changed",
    "assertion.boxesHash.unknownBox": "c2pa-content-changed",
    "assertion.bmffHash.mismatch": "c2pa-content-changed",
    "assertion.collectionHash.mismatch": "c2pa-content-changed",
    "assertion.hashedURI.mismatch": "c2pa-manifest-changed",
    "assertion.missing": "c2pa-manifest-changed",
    "assertion.undeclared": "c2pa-manifest-changed",
    "claimSignature.mismatch": "c2pa-manifest-changed",
    "claimSignature.missing": "c2pa-manifest-changed",
    "claimSignature.outsideValidity": "c2pa-certificate-expired",
    "signingCredential.expired": "c2pa-certificate-expired",
    "signingCredential.ocsp.revoked": "c2pa-certificate-revoked",
    "signingCredential.revoked": "c2pa-certificate-revoked",
    "signingCredential.invalid": "c2pa-certificate-invalid",
}
PROBLEMS: Final = {
    "c2pa-certificate-expired": "the signer's certificate did not hold when it signed, or has run out and no time stamp says when it signed",
    "c2pa-certificate-invalid": "the signer's certificate may not sign manifests",
    "c2pa-certificate-revoked": "the signer's certificate was revoked",
    "c2pa-content-changed": "the picture is not the one that was signed",
    "c2pa-ingredient": "the manifest of something that the picture was made from does not hold",
    "c2pa-manifest-changed": "the manifest is not the one that was signed",
    "c2pa-other": "the manifest breaks another rule of C2PA",
    "c2pa-unreadable": "there is a manifest store that cannot be read, or is longer than is read",
}


class TrustError(Exception):
    """The file of trust anchors cannot be used; the message says which and why."""


def read_anchors(path: Path) -> str:
    """The certificates of a file of trust anchors, X.509 in PEM, what stands between them left out. Raises TrustError."""
    try:
        text = "\n".join(_CERTIFICATE.findall(path.read_text("utf-8"))) + "\n"
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)  # c2pa itself passes over what is no certificate
    except (OSError, UnicodeDecodeError, ssl.SSLError) as error:
        raise TrustError(f"{path} is no file of certificates in PEM: {error}") from error
    return text


@dataclass
class Manifest:
    """What a manifest store says, whether it holds or not: see `state`.

    state: none, trusted (validated, the signer is on the trust list), untrusted (validated, the signer is not, or there is no list), invalid
    (does not validate), unreadable. generator: claim generator, with its version. agents: software agents of the actions, each
    once, the first MAX_AGENTS. source_types:
    digital source types, last path word. uses: (assertion, entry, use) of training-mining assertions, the entry without its prefix;
    `allowed` only from the active manifest of a store that validates. problems: words of PROBLEMS.
    """

    state: str = "none"
    generator: str | None = None
    agents: list[str] = field(default_factory=list)
    source_types: list[str] = field(default_factory=list)
    uses: list[tuple[str, str, str]] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)


class ManifestReader:
    """anchors: PEM of the trust list; None: there is none, and nobody is trusted. Not for several threads at once."""

    def __init__(self, anchors: str | None = None):
        settings = _SETTINGS if anchors is None else _SETTINGS | {"trust": {"trust_anchors": anchors}}
        self._context = c2pa.Context(c2pa.Settings.from_dict(settings))

    def read(self, data: bytes) -> Manifest:
        """The manifest store of a JPEG, PNG or WebP. Never raises for what stands in the bytes."""
        mime = next((mime for magic, mime in _MIMES if data.startswith(magic)), None)
        if mime is None:
            return Manifest()
        try:
            with c2pa.Reader(mime, BytesIO(data), context=self._context) as reader:
                state, store = reader.get_validation_state(), json.loads(reader.json())
        except c2pa.C2paError.ManifestNotFound:
            return Manifest()
        except (c2pa.C2paError, ValueError, RecursionError):  # of the two others: the store's JSON
            return Manifest("unreadable", problems={"c2pa-unreadable"})
        found = Manifest(_STATES.get(state or "", "unreadable"))
        _read_store(store, found)
        return found


def _read_store(store: dict[str, Any], found: Manifest) -> None:
    results = _dict(store.get("validation_results"))
    for code in _codes(results.get("activeManifest")):
        if (word := _CODES.get(code, "c2pa-other")) is not None:
            found.problems.add(word)
    deltas = [_dict(delta).get("validationDeltas") for delta in _list(results.get("ingredientDeltas"))]
    if any(_CODES.get(code, code) is not None for delta in deltas for code in _codes(delta)):
        found.problems.add("c2pa-ingredient")
    manifests, active = _dict(store.get("manifests")), store.get("active_manifest")
    for label, part in _reachable(manifests, active, found):
        _read_manifest(_dict(manifests[label]), found, active=label == active, part=part)


def _reachable(manifests: dict[str, Any], active: Any, found: Manifest) -> Iterator[tuple[str, bool]]:
    """(label, whether it is of a part only) of the active manifest and of those of what the picture was made from, parents first."""
    waiting, seen = [(active, False)], set[str]()
    while waiting and len(seen) < MAX_MANIFESTS:
        label, part = waiting.pop(0)
        if not isinstance(label, str) or label in seen or label not in manifests:
            continue
        seen.add(label)
        yield label, part
        for ingredient in map(_dict, _list(_dict(manifests[label]).get("ingredients"))):
            recorded = _dict(ingredient.get("validation_results")).get("activeManifest")
            if any(_CODES.get(code, code) is not None for code in _codes(recorded)):
                found.problems.add("c2pa-ingredient")
            relationship = ingredient.get("relationship")
            if relationship in ("parentOf", "componentOf"):  # not inputTo: what was looked at
                waiting.append((ingredient.get("active_manifest"), part or relationship == "componentOf"))


def _read_manifest(manifest: dict[str, Any], found: Manifest, *, active: bool, part: bool) -> None:
    if active:
        found.generator = _named((_list(manifest.get("claim_generator_info")) or [manifest.get("claim_generator")])[0])
    for assertion in map(_dict, _list(manifest.get("assertions"))):
        label, data = str(assertion.get("label", "")).partition("__")[0], _dict(assertion.get("data"))
        if label.startswith("c2pa.actions"):
            for action in map(_dict, _list(data.get("actions"))):
                _add_source_type(action.get("digitalSourceType"), found, part=part)
                agent = _named(action.get("softwareAgent"))
                if agent is not None and agent not in found.agents and len(found.agents) < MAX_AGENTS:
                    found.agents.append(agent)
        elif label in ("stds.iptc", "c2pa.metadata", "cawg.metadata"):
            _add_source_type(data.get("Iptc4xmpExt:DigitalSourceType"), found, part=part)
        elif label in ("c2pa.training-mining", "cawg.training-mining"):
            for entry, rule in _dict(data.get("entries")).items():
                use = _dict(rule).get("use")
                if use in ("notAllowed", "constrained") or (use == "allowed" and active and found.state in ("trusted", "untrusted")):
                    found.uses.append((label, entry.rpartition(".")[2], use))


def _add_source_type(value: Any, found: Manifest, *, part: bool) -> None:
    """Of a generated part the whole is a composite."""
    if isinstance(value, str) and (word := value.rstrip("/").rpartition("/")[2]):
        found.source_types.append("compositeWithTrainedAlgorithmicMedia" if part and word == "trainedAlgorithmicMedia" else word)


def _codes(statuses: Any) -> list[str]:
    return [str(_dict(status).get("code")) for status in _list(_dict(statuses).get("failure"))]


def _named(value: Any) -> str | None:
    """A tool: a text, or a map with name and version."""
    if isinstance(value, dict):
        value = " ".join(part for part in (value.get("name"), value.get("version")) if isinstance(part, str))
    return value if isinstance(value, str) and value.strip() else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
