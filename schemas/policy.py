"""A policy: which pairs are kept, reviewed or dropped, as data. Read from TOML, validated with messages that name file, rule and field.

name = "embedded"
description = "what this policy is for"
caption = "caption"     # the captions that are judged and released: the sources'; "caption@blip2": the version blip2 (python -m pipelines.caption)

[duplicates]
exact = true            # same bytes, or same picture, colours and caption: the better pair stays
pdq_quality = 50        # PDQ hashes below this quality (0..100) say nothing (threatexchange)
colour_distance = 6.0   # largest mean Lab distance of two 8x8 thumbnails that count as the same colours
near = true             # pictures whose PDQ hashes differ little, and of the same colours: the better pair stays, whatever the captions
near_distance = 31      # bits of 256, inclusive, 0 to 31
near_mode = "complete"  # finds all; "fast" finds all to distance 15, 99.9 % at 20, 91 % at 31
semantic = false        # images whose embeddings say nearly the same (column embed.image): the better pair stays
semantic_cosine = 0.99  # above 0 to 1, inclusive

[captions]
personal_data = "redact"   # e-mail addresses and numbers of phones, cards, accounts and ids, in captions and all text beside them: "keep",
                           # or "[e-mail]" in their place; what names a pair or where it came from (uid, urls, file_name, source_id) stays

[[rule]]
column = "clip.similarity"
scorer = "clip:pigment-embedded"   # the scorer and weights that the bound was calibrated on
min = 0.10                         # bounds are inclusive: min, max, in, not_in; or top_fraction
do = "drop"                        # or "review"
missing = "drop"                   # what a null means: "keep", "review" or "drop"
reason = "clip:low_similarity"
overrule = true                    # whether a person may decide otherwise

[[rule]]
column = "uid"
not_in_file = "lists/forgotten.txt"   # a value a line, or DataComp's .npy; also in_file. The path is relative to this file
reason = "id:in_list"

[[rule]]
column = "image.pdq"
not_near_file = "lists/coco-val.pdq"  # PDQ hashes in hex, one a line: pictures within distance 31 are dropped
missing = "keep"
reason = "leak:picture"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from schemas.caption_names import SOURCES, version_of
from schemas.digest import digest_of_json
from schemas.reasons import check_reason, is_fact
from schemas.value_lists import ListError, ValueList, find_list

Value = str | int | float | bool


class PolicyError(Exception):
    """The policy is not valid; the message names file, rule and field."""


@dataclass(frozen=True)
class Rule:
    """A bound on one column. A pair that violates it gets `reason` and at least the verdict `do`.

    min, max: inclusive. in_, not_in: allowed and forbidden values. top_fraction: the best share (0..1] of `of` stays, ties kept.
    in_file, not_in_file: the same for the values of a list. not_near_file: PDQ hashes that no good hash may lie within distance 31 of.
    missing: the verdict of a pair without the value, under the reason `<family>:missing`; "keep" passes it.
    """

    column: str
    reason: str
    scorer: str | None = None
    min: float | None = None
    max: float | None = None
    in_: tuple[Value, ...] | None = None
    not_in: tuple[Value, ...] | None = None
    in_file: ValueList | None = None
    not_in_file: ValueList | None = None
    not_near_file: ValueList | None = None
    top_fraction: float | None = None
    of: Literal["pool", "passing"] = "passing"
    do: Literal["drop", "review"] = "drop"
    missing: Literal["keep", "review", "drop"] = "drop"
    overrule: bool = True

    @property
    def missing_reason(self) -> str:
        return self.reason.partition(":")[0] + ":missing"

    @property
    def gives(self) -> tuple[str, ...]:
        """The reasons that the rule can give."""
        return (self.reason,) if self.missing == "keep" else (self.reason, self.missing_reason)

    @property
    def lists(self) -> dict[str, ValueList]:
        """The lists that the rule names, by field."""
        named = {name: getattr(self, name) for name in LIST_BOUNDS}
        return {name: values for name, values in named.items() if values is not None}

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that judging needs."""
        return (self.column, "image.pdq_quality") if self.not_near_file else (self.column,)

    def as_dict(self) -> dict[str, Any]:
        """All fields; lists by digest."""
        return {**asdict(self), **{name: values.as_dict() for name, values in self.lists.items()}}

    def bound_text(self) -> str:
        """The bound as a person reads it: `at least 0.1`, `one of a, b`."""
        parts = []
        if self.min is not None:
            parts.append(f"at least {self.min:g}")
        if self.max is not None:
            parts.append(f"at most {self.max:g}")
        if self.in_ is not None:
            parts.append("one of " + ", ".join(map(str, self.in_)))
        if self.not_in is not None:
            parts.append("none of " + ", ".join(map(str, self.not_in)))
        for name, words in (("in_file", "in a list"), ("not_in_file", "in no list"), ("not_near_file", "near no hash of a list")):
            if name in self.lists:
                parts.append(f"{words} of {self.lists[name].values:,}")
        if self.top_fraction is not None:
            parts.append(f"in the top {self.top_fraction:.0%} of the {'pool' if self.of == 'pool' else 'passing pairs'}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Duplicates:
    """exact: whether equal bytes and equal pictures are dropped. colour_distance: mean Lab distance (8-bit scale), inclusive.

    near: whether pictures within `near_distance` bits of PDQ (0..31, inclusive) and the colours are dropped, by a "complete" or a "fast" search.
    semantic: whether images with a cosine of at least `semantic_cosine` are.
    """

    exact: bool = True
    pdq_quality: int = 50
    colour_distance: float = 6.0
    near: bool = False
    near_distance: int = 31
    near_mode: Literal["complete", "fast"] = "complete"
    semantic: bool = False
    semantic_cosine: float = 0.99


@dataclass(frozen=True)
class Captions:
    """personal_data: whether captions, and all text that is released beside them, are so as they are, or with each find of personal data replaced by
    its kind in brackets. Which columns stay: quality.columns.personal_data.STAYS."""

    personal_data: Literal["keep", "redact"] = "keep"


@dataclass(frozen=True)
class Policy:
    """A parsed policy. similarity: the column that ranks equal pairs after verdict, licence class and pixels; null ranks last.

    caption: "caption", or the version that stands in its place in all that is judged and released, as "caption@blip2".
    """

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    similarity: str = "clip.similarity"
    duplicates: Duplicates = Duplicates()
    captions: Captions = Captions()
    caption: str = SOURCES

    def as_dict(self) -> dict[str, Any]:
        """All fields; `caption` only where it names a version: policies that name none are as they were before there was one."""
        told = {**asdict(self), "rules": [rule.as_dict() for rule in self.rules]}
        return told if self.caption != SOURCES else {name: value for name, value in told.items() if name != "caption"}

    @property
    def caption_version(self) -> str | None:
        """The version of the captions that is judged and released; None for the sources'."""
        return version_of(self.caption)

    @property
    def overrulable(self) -> frozenset[str]:
        """The reasons that a person may overrule: every rule that can give one says so."""
        free, fixed = set[str](), set[str]()
        for rule in self.rules:
            (free if rule.overrule else fixed).update(rule.gives)
        return frozenset(reason for reason in free - fixed if not is_fact(reason))

    @property
    def digest(self) -> str:
        """SHA-256 of everything that can change a decision; the description cannot."""
        return digest_of_json({key: value for key, value in self.as_dict().items() if key != "description"})


_RULE_KEYS: Final = {"in" if field.name == "in_" else field.name for field in fields(Rule)}
LIST_BOUNDS: Final = ("in_file", "not_in_file", "not_near_file")
BOUNDS: Final = ("min", "max", "in", "not_in", *LIST_BOUNDS, "top_fraction")


def read_policy(path: str | Path) -> Policy:
    """The policy in a TOML file. Raises PolicyError."""
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}; give the path of a policy file") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: not UTF-8: {error}") from error
    return parse_policy(text, where=str(path), folder=path.parent)


def parse_policy(text: str, *, where: str, folder: Path = Path()) -> Policy:
    """The policy in TOML text; `where` begins every message, and lists are looked for below `folder`. Raises PolicyError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{where}: not TOML: {error}") from error
    _only(data, {"name", "description", "similarity", "caption", "duplicates", "captions", "rule"}, where)
    rules = data.get("rule", [])
    if not isinstance(rules, list) or not rules:
        raise PolicyError(f"{where}: no [[rule]]; a policy needs at least one")
    duplicates = data.get("duplicates", {})
    _only(duplicates, {field.name for field in fields(Duplicates)}, f"{where}: [duplicates]")
    captions = data.get("captions", {})
    _only(captions, {field.name for field in fields(Captions)}, f"{where}: [captions]")
    return Policy(
        name=_typed(data, "name", str, where),
        description=_typed(data, "description", str, where, default=""),
        similarity=_typed(data, "similarity", str, where, default="clip.similarity"),
        caption=_caption(data, where),
        duplicates=_duplicates(duplicates, f"{where}: [duplicates]"),
        captions=Captions(personal_data=_one_of(captions, "personal_data", ("keep", "redact"), f"{where}: [captions]", default="keep")),
        rules=tuple(_rule(rule, f"{where}: rule {number} ({_label(rule)})", folder) for number, rule in enumerate(rules, 1)),
    )


def parse_stored_policy(data: Mapping[str, Any]) -> Policy:
    """The policy that :meth:`Policy.as_dict` gave, as a run or a manifest holds it (JSON has no tuples). Its lists have no values."""
    rules = tuple(Rule(**{key: _restored(value) for key, value in rule.items()}) for rule in data["rules"])
    captions = Captions(**data.get("captions", {}))
    return Policy(**{**data, "rules": rules, "duplicates": Duplicates(**data["duplicates"]), "captions": captions})


def _restored(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else ValueList(**value) if isinstance(value, dict) else value


def _caption(data: Mapping[str, Any], where: str) -> str:
    caption = _typed(data, "caption", str, where, default=SOURCES)
    try:
        version_of(caption)
    except ValueError as error:
        raise PolicyError(f"{where}: field 'caption': {error}") from error
    return caption


def _duplicates(data: Mapping[str, Any], where: str) -> Duplicates:
    read = Duplicates(
        exact=_typed(data, "exact", bool, where, default=True),
        pdq_quality=_typed(data, "pdq_quality", int, where, default=50),
        colour_distance=_typed(data, "colour_distance", float, where, default=6.0),
        near=_typed(data, "near", bool, where, default=False),
        near_distance=_typed(data, "near_distance", int, where, default=31),
        near_mode=_one_of(data, "near_mode", ("complete", "fast"), where, default="complete"),
        semantic=_typed(data, "semantic", bool, where, default=False),
        semantic_cosine=_typed(data, "semantic_cosine", float, where, default=0.99),
    )
    if not 0 <= read.near_distance <= 31:
        raise PolicyError(f"{where}: field 'near_distance' must be from 0 to 31, to which the search is complete; got {read.near_distance}")
    if not 0 < read.semantic_cosine <= 1:
        raise PolicyError(f"{where}: field 'semantic_cosine' must be above 0 and at most 1, got {read.semantic_cosine:g}")
    return read


def _label(rule: Any) -> str:
    return str(rule.get("column", "no column")) if isinstance(rule, dict) else "not a table"


def _rule(data: Any, where: str, folder: Path) -> Rule:
    if not isinstance(data, dict):
        raise PolicyError(f"{where}: write it as [[rule]]")
    _only(data, _RULE_KEYS, where)
    if not any(bound in data for bound in BOUNDS):
        raise PolicyError(f"{where}: no bound; give one of {', '.join(BOUNDS)}")
    top = _typed(data, "top_fraction", float, where, default=None)
    if top is not None and not 0 < top <= 1:
        raise PolicyError(f"{where}: field 'top_fraction' must be above 0 and at most 1, got {top:g}")
    try:
        reason = check_reason(_typed(data, "reason", str, where))
        rule = Rule(
            column=_typed(data, "column", str, where),
            reason=reason,
            scorer=_typed(data, "scorer", str, where, default=None),
            min=_typed(data, "min", float, where, default=None),
            max=_typed(data, "max", float, where, default=None),
            in_=_values(data, "in", where),
            not_in=_values(data, "not_in", where),
            in_file=_list(data, "in_file", where, folder),
            not_in_file=_list(data, "not_in_file", where, folder),
            not_near_file=_list(data, "not_near_file", where, folder),
            top_fraction=top,
            of=_one_of(data, "of", ("pool", "passing"), where, default="passing"),
            do=_one_of(data, "do", ("drop", "review"), where, default="drop"),
            missing=_one_of(data, "missing", ("keep", "review", "drop"), where, default="drop"),
            overrule=_typed(data, "overrule", bool, where, default=True),
        )
        if rule.missing != "keep":
            check_reason(rule.missing_reason)
    except ValueError as error:
        raise PolicyError(f"{where}: field 'reason': {error}") from error
    return rule


def _only(data: Any, known: set[str], where: str) -> None:
    if not isinstance(data, dict):
        raise PolicyError(f"{where}: must be a table of fields, got {data!r}")
    for key in data:
        if key not in known:
            raise PolicyError(f"{where}: unknown field {key!r}; known: {', '.join(sorted(known))}")


_REQUIRED: Final = object()


def _typed(data: Mapping[str, Any], key: str, kind: type, where: str, default: Any = _REQUIRED) -> Any:
    if key not in data:
        if default is _REQUIRED:
            raise PolicyError(f"{where}: field {key!r} is missing")
        return default
    value = data[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool)) or value != value:
        names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
        raise PolicyError(f"{where}: field {key!r} must be {names[kind]}, got {value!r}")
    return value


def _values(data: Mapping[str, Any], key: str, where: str) -> tuple[Value, ...] | None:
    if key not in data:
        return None
    value = data[key]
    if not isinstance(value, list) or not value or not all(isinstance(item, str | int | float | bool) for item in value):
        raise PolicyError(f"{where}: field {key!r} must be a list of values, got {value!r}")
    return tuple(value)


def _list(data: Mapping[str, Any], key: str, where: str, folder: Path) -> ValueList | None:
    path = _typed(data, key, str, where, default=None)
    try:
        return None if path is None else find_list(folder / path)
    except ListError as error:
        raise PolicyError(f"{where}: field {key!r}: {error}; paths are relative to the policy's file") from error


def _one_of(data: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str, default: str) -> Any:
    value = data.get(key, default)
    if value not in choices:
        raise PolicyError(f"{where}: field {key!r} must be one of {', '.join(choices)}, got {value!r}")
    return value
