"""README.md: the release as a Hugging Face dataset card, whose head tells `datasets.load_dataset` how the folder is read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from quality.documents import text
from quality.documents.facts import Facts
from quality.documents.obligations import hub_license

_SIZES: Final = (  # Hugging Face's words (hub docs, datasetcard.md), below 10, 100, … thousand
    "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T",
)  # fmt: skip


def card(facts: Facts) -> str:
    """The card. What load_dataset reads are the tars, with one feature a suffix; metadata are read as JSON, whatever columns a source has."""
    paths = [shard["path"] for shard in facts.kept.shards]
    inside = all(path.startswith("shards/") for path in paths)
    parts = [
        head(facts, data_files="shards/*.tar" if inside else paths, features=features_of_tars(facts)),
        f"# {facts.name}",
        f"{facts.about.get('description', '')}\n\n{_what(facts)}".strip(),
        "## Use",
        _use(facts),
        "## What is in it",
        text.table(["", ""], _contents(facts)),
        "## Licences and obligations",
        "Each pair stands under the licence that its source states. What follows is in `NOTICE` and `OBLIGATIONS.md`; title, author, source and "
        f"licence of the {facts.attributed:,} pairs that need it are in `ATTRIBUTION.csv` and `ATTRIBUTION.html`, to be handed on with them.",
        text.licences(facts),
        f"Licence of the collection as a whole: {facts.about.said('license')}.",
        "## How it was made",
        text.collection(facts),
        text.optouts(facts),
        f"### Selection by policy {text.code(facts.manifest['policy']['name'])}",
        facts.manifest["policy"].get("description", ""),
        text.rules(facts),
        text.decided(facts),
        "### What measured",
        text.scorers(facts),
        "## People and personal data",
        text.redaction(facts),
        text.measured(facts),
        f"To have a pair removed: {facts.about.said('takedown')}.",
        "## Uses, biases and limits",
        *(f"{said}: {facts.about.said(key)}." for said, key in _USES),
        "## More",
        "`datasheet.md` (Datasheets for Datasets), `croissant.json` (Croissant 1.1 with RAI), `ai-act-summary.md` (summary of training content), "
        "`manifest.json` (digests of all parts).",
        f"Maker: {facts.about.said('creator')}. Contact: {facts.about.said('contact')}. Citation: {facts.about.said('citation')}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_USES: Final = (
    ("Intended", "intended_uses"), ("Discouraged", "discouraged_uses"), ("Known biases", "biases"), ("Known limitations", "limitations"),
)  # fmt: skip


def features_of_tars(facts: Facts) -> list[dict[str, str]]:
    """What `datasets` makes of a sample's members. Named, since it would else take the first five samples for all."""
    return [
        *({"name": suffix, "dtype": "image"} for suffix in sorted(facts.suffixes)),
        {"name": "txt", "dtype": "string"},
        {"name": "json", "dtype": "json"},
        {"name": "__key__", "dtype": "string"},
        {"name": "__url__", "dtype": "string"},
    ]


def head(facts: Facts, *, data_files: str | Sequence[str], features: Sequence[Mapping[str, Any]] | None) -> str:
    """The card's YAML. JSON is YAML, and quotes whatever a name holds. features: None where the files themselves tell."""
    told: dict[str, Any] = {"pretty_name": facts.name}
    words = list(dict.fromkeys(hub_license(terms.spdx) for terms in facts.terms)) or ["unknown"]
    told["license"] = words[0] if len(words) == 1 else words
    if "other" in words:
        told |= {"license_name": "by-pair", "license_link": "NOTICE"}
    if found := [word for word, _ in text.languages(facts)]:
        told["language"] = found
    told["size_categories"] = [_size_category(facts.pairs)]
    told["task_categories"] = ["text-to-image"]
    told["tags"] = ["image", "text", "webdataset", "pigment"]
    told["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": data_files}]}]
    if features is not None:
        told["dataset_info"] = [{"config_name": "default", "features": features}]
    return "\n".join(["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()), "---"])


def _size_category(count: int) -> str:
    return _SIZES[min(len(_SIZES) - 1, max(0, len(str(count)) - 3))]


def _what(facts: Facts) -> str:
    manifest = facts.manifest
    parent = f", after {text.code(manifest['parent'])}" if manifest["parent"] else ""
    return (
        f"{facts.pairs:,} pictures with captions: release {text.code(manifest['release'])}{parent}, digest {text.code(manifest['digest'])}, made "
        f"with Pigment {manifest['pigment']}."
    )


def _use(facts: Facts) -> str:
    suffix = min(facts.suffixes, default="jpg")
    return "\n".join(
        [
            "```python",
            "from datasets import load_dataset",
            "",
            'pairs = load_dataset("path/of/this/folder", split="train")',
            f'pairs[0]["{suffix}"], pairs[0]["txt"], pairs[0]["json"]',
            "```",
            "",
            f"A picture is in the column of its format ({', '.join(sorted(facts.suffixes)) or 'none'}). The shards are WebDataset tars, in the "
            "order of a hash; each has an index beside it, as Parquet, with all measured values.",
        ]
    )


def _contents(facts: Facts) -> list[list[str]]:
    shards = facts.kept.shards
    rows = [
        ["pairs", f"{facts.pairs:,}"],
        ["shards", f"{len(shards):,} tars, {text.size(sum(shard['bytes'] for shard in shards))}"],
        ["images", f"{text.size(facts.image_bytes)}; {', '.join(f'{count:,} {suffix}' for suffix, count in sorted(facts.suffixes.items()))}"],
        *([f"{side}, pixels", f"{low:,} to {high:,}, half of them at most {middle:,}"] for side, (low, middle, high) in facts.sides.items()),
        ["captions", f"{facts.caption_letters / max(1, facts.pairs):,.0f} letters on average"],
        *([["origin of captions", text.captions(facts)]] if "captions" in facts.manifest else []),
        ["languages of captions", text.languages_told(facts)],
        ["hosts", f"{len(facts.hosts):,}"],
    ]  # fmt: skip
    return rows if not facts.listed else [*rows, ["left out of this text", f"{facts.listed:,} pairs that are on a block list now"]]
