"""The reference of policies, as Markdown, from the JSON Schema and the packaged files."""

from typing import Any

from quality.pages import table
from quality.rules import PACKAGED, find_policy
from schemas.policy import Policy
from schemas.policy_schema import policy_schema
from schemas.reasons import REASONS, is_fact, reason_text


def reference() -> str:
    """What quality/policies/README.md holds between its marks."""
    schema = policy_schema()
    fields = dict(schema["properties"])
    rule = fields.pop("rule")
    tables = {name: fields.pop(name) for name in list(fields) if fields[name].get("type") == "object"}
    parts = ["### The packaged policies", _packaged()]
    parts += ["### The file", _fields({**fields, "rule": {"type": "array", "description": rule["description"]}}, schema["required"])]
    for name, part in tables.items():
        parts += [f"### `[{name}]`", part["description"], _fields(part["properties"], part["required"])]
    bounds = ", ".join(f"`{option['required'][0]}`" for option in rule["items"]["anyOf"])
    parts += ["### `[[rule]]`", f"{rule['description']} Each has at least one of {bounds}."]
    parts += [_fields(rule["items"]["properties"], rule["items"]["required"])]
    parts += [
        "### Reasons",
        "A rule gives one of these words, or `<family>:missing`. What is marked a fact no person can overrule.",
        _reasons(),
    ]
    return "\n\n".join(part.strip() for part in parts)


def _packaged() -> str:
    rows = []
    for path in sorted(PACKAGED.glob("*.toml")):
        policy = find_policy(path.stem)
        rows.append((f"[`{policy.name}`]({path.name})", str(len(policy.rules)), _scorers(policy), policy.description))
    return table(("policy", "rules", "scorers", "what it is for"), rows)


def _scorers(policy: Policy) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(rule.scorer for rule in policy.rules if rule.scorer)) or "any"


def _fields(properties: dict[str, Any], required: list[str]) -> str:
    rows = [
        (f"`{name}`", _kind(field), "required" if name in required else _default(field), field.get("description", ""))
        for name, field in properties.items()
    ]
    return table(("field", "value", "default", "meaning"), rows)


def _kind(field: dict[str, Any]) -> str:
    """What may stand there: a type, a range, or the words."""
    if "enum" in field:
        words = field["enum"]
        return ", ".join(f"`{word}`" for word in words) if len(words) < 10 else "a word of the reasons below"
    low = field.get("minimum", field.get("exclusiveMinimum"))
    bounds = "" if low is None else f", {'above ' if 'exclusiveMinimum' in field else ''}{low} to {field['maximum']}"
    kind = field["type"]
    if kind == "array":
        return f"list of {_kind(field['items'])}" if "items" in field else "tables"
    return (" or ".join(kind) if isinstance(kind, list) else kind) + bounds


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else "empty"


def _reasons() -> str:
    rows = []
    for family, words in REASONS.items():
        for word in words:
            reason = f"{family}:{word}"
            rows.append((f"`{reason}`", reason_text(reason), "fact" if is_fact(reason) else ""))
    return table(("reason", "meaning", ""), rows)
