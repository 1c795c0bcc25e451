"""The JSON Schema of policy files, for editors: made from the dataclasses that the parser fills, so that the two cannot differ."""

from dataclasses import MISSING, Field, fields
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from schemas.policy import BOUNDS, Captions, Duplicates, Policy, Rule
from schemas.reasons import REASONS
from schemas.value_lists import ValueList

_KINDS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}

# What an editor shows. A field without a text here still is in the schema; a test asks for the text.
DESCRIPTIONS: Final = {
    "Policy.name": "What releases and reports call the policy.",
    "Policy.description": "What it is for. No part of its digest.",
    "Policy.similarity": "The column that ranks equal pairs after verdict, licence class and pixels.",
    "Policy.caption": (
        'The captions that are judged and released: "caption", the sources\' own; "caption@NAME", a version that python -m pipelines.caption '
        "added to the pool: pairs that it has no caption for are dropped."
    ),
    "Policy.rules": "Bounds on columns; a pair is judged by all of them.",
    "Policy.duplicates": "Which pairs count as equal; the best of them stays.",
    "Policy.captions": "How captions, and the text beside them, are released; the pool keeps them as they came.",
    "Duplicates.exact": "Drop pairs with the same bytes, or the same picture, colours and caption as a better pair.",
    "Duplicates.pdq_quality": "PDQ hashes below this quality, 0 to 100, say nothing.",
    "Duplicates.colour_distance": "Largest mean Lab distance of two 8x8 thumbnails (8-bit scale) that count as the same colours.",
    "Duplicates.near": "Drop pictures whose PDQ hashes differ little and whose colours are the same as a better pair's, whatever the caption.",
    "Duplicates.near_distance": "Largest number of differing bits, 0 to 31 of 256, inclusive.",
    "Duplicates.near_mode": "complete finds all; fast finds all to distance 15, 99.9 % at 20, 91 % at 31.",
    "Duplicates.semantic": "Drop images whose embeddings (embed.image) say nearly the same as a better pair's.",
    "Duplicates.semantic_cosine": "Smallest cosine that counts as the same, above 0 to 1, inclusive.",
    "Captions.personal_data": (
        "redact: e-mail addresses and numbers of phones, cards, accounts and ids become [e-mail] and so on, in captions and in all text that is "
        "released beside them: title, creator (a name stays), licence, tags, every carried column of text, what the file says of itself. "
        "What names a pair or where it came from stays: uid, urls, file_name, source_id. Columns of numbers are not looked at."
    ),
    "Rule.column": "A column of the pool: raw, scored (image.aspect) or computed (license.class).",
    "Rule.reason": "Why a pair that violates the rule is not kept.",
    "Rule.scorer": 'The scorer and weights that the bound was calibrated on: "clip:ViT-B-32/openai"; another in the pool is an error.',
    "Rule.min": "Lowest value that passes, inclusive.",
    "Rule.max": "Highest value that passes, inclusive.",
    "Rule.in": "The values that pass.",
    "Rule.not_in": "The values that do not pass.",
    "Rule.in_file": "A list of the values that pass: text, one a line, or DataComp's .npy of ids. Relative to this file.",
    "Rule.not_in_file": "A list of the values that do not pass: text, one a line, or DataComp's .npy of ids. Relative to this file.",
    "Rule.not_near_file": "A list of PDQ hashes in hex, one a line: pictures within distance 31 of one do not pass. For image.pdq.",
    "Rule.top_fraction": "The share, above 0 to 1, that passes: the best by the column's declared direction, ties included.",
    "Rule.of": "What top_fraction is a share of: all fetched pairs, or those that pass all other rules.",
    "Rule.do": "The verdict of a pair that violates the rule.",
    "Rule.missing": "The verdict of a pair without the value, under the reason <family>:missing; keep passes it.",
    "Rule.overrule": "Whether a person may decide otherwise; legal rules: false.",
}

_RANGES: Final[dict[str, dict[str, int]]] = {
    "top_fraction": {"exclusiveMinimum": 0, "maximum": 1},
    "near_distance": {"minimum": 0, "maximum": 31},
    "semantic_cosine": {"exclusiveMinimum": 0, "maximum": 1},
}


def policy_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a policy's TOML."""
    rule = _table(Rule)
    rule["properties"]["reason"]["enum"] = [f"{family}:{word}" for family, words in REASONS.items() for word in words]
    rule["anyOf"] = [{"required": [bound]} for bound in BOUNDS]
    policy = _table(Policy)
    policy["properties"]["rule"] = {**policy["properties"].pop("rules"), "type": "array", "minItems": 1, "items": rule}
    policy["required"] = ["name", "rule"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A policy of Pigment", **policy}


def _table(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    found = {_toml_name(field): _property(field, hints[field.name], kind.__name__) for field in fields(kind)}
    required = [_toml_name(field) for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return {"type": "object", "properties": found, "required": required, "additionalProperties": False}


def _toml_name(field: Field) -> str:
    return field.name.rstrip("_")


def _property(field: Field, hint: Any, owner: str) -> dict[str, Any]:
    text = DESCRIPTIONS.get(f"{owner}.{_toml_name(field)}")
    found: dict[str, Any] = {**({} if text is None else {"description": text}), **_type(hint)}
    if isinstance(field.default, str | int | float | bool):
        found["default"] = field.default
    return {**found, **_RANGES.get(field.name, {})}


def _type(hint: Any) -> dict[str, Any]:
    options = [option for option in get_args(hint) if option is not type(None)]
    if hint in _KINDS:
        return {"type": _KINDS[hint]}
    if hint is ValueList:
        return {"type": "string"}
    if hint in (Duplicates, Captions):
        return _table(hint)
    if get_origin(hint) is Literal:
        return {"enum": options}
    if get_origin(hint) is tuple:
        return {"type": "array", "minItems": 1, "items": _type(options[0])}
    if get_origin(hint) in (Union, UnionType):
        return _type(options[0]) if len(options) == 1 else {"type": [_KINDS[option] for option in options]}
    return {}  # the policy's rules: put in by policy_schema
