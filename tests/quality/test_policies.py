"""The packaged policies: valid by parser and schema, fit for what the scorers measure, and as strict as their names promise."""

import json
import subprocess
import sys
import tomllib
from dataclasses import fields

import jsonschema
import pyarrow as pa
import pytest

from quality.column_plan import plan_columns
from quality.columns import COLUMN_FUNCTIONS
from quality.policies.__main__ import listing, schema_text
from quality.rules import PACKAGED, Rules, check_policy, find_policy
from quality.scorers import make_scorers
from schemas.columns import RAW, field
from schemas.policy import Captions, Duplicates, Policy, PolicyError, Rule, parse_policy
from schemas.policy_schema import DESCRIPTIONS, policy_schema
from tests.pools import make_pool

NAMES = ("commercial", "coyo", "datacomp-basic", "datacomp-clip30", "default", "embedded", "laion2b", "research")
OURS = ("commercial", "default", "embedded", "research")
# Columns of scorers that a pool has beside those of `make_scorers`.
BESIDE = (
    field("evidence.mining", pa.string(), meaning="allowed or disallowed"),
    field("deepfake.band", pa.string(), meaning="none, low, review or high"),
    field("caption.repeats", pa.int64(), meaning="pairs of the pool with this caption", range=(1, None)),
)
VALIDATOR = jsonschema.Draft202012Validator(policy_schema())


def measured() -> dict[str, pa.Field]:
    """What a scored pool offers to policies."""
    found = {one.name: one for one in BESIDE} | {one.name: one for one in RAW}
    for function in COLUMN_FUNCTIONS.values():
        found.update({one.name: one for one in function.fields})
    for scorer in make_scorers():
        found.update({f"{scorer.name}.{one.name}": one.with_name(f"{scorer.name}.{one.name}") for one in scorer.fields})
    return found


def test_the_list_of_them():
    assert tuple(sorted(path.stem for path in PACKAGED.glob("*.toml"))) == NAMES
    text = listing()
    assert all(name in text for name in NAMES) and "clip:ViT-L-14/openai" in text


@pytest.mark.parametrize("name", NAMES)
def test_fits_what_the_scorers_measure(name):
    policy = find_policy(name)
    check_policy(policy, measured(), where=name)
    Rules(policy)
    assert policy.name == name and policy.description


@pytest.mark.parametrize("name", NAMES)
def test_is_valid_by_the_schema_and_names_it(name):
    text = (PACKAGED / f"{name}.toml").read_text("utf-8")
    assert text.startswith("#:schema ./policy.schema.json\n")
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"embedded"}))
def test_every_bound_says_where_it_comes_from(name):
    for line in (PACKAGED / f"{name}.toml").read_text("utf-8").splitlines():
        if line.split(" = ")[0] in ("min", "max", "in", "not_in", "top_fraction", "pdq_quality", "colour_distance"):
            assert "# " in line, line


def test_the_file_is_what_the_command_prints():
    command = [sys.executable, "-m", "quality.policies", "--schema"]
    printed = subprocess.run(command, cwd=PACKAGED.parent.parent, capture_output=True, text=True, check=True).stdout
    assert printed == schema_text() == (PACKAGED / "policy.schema.json").read_text("utf-8"), (
        "run: python -m quality.policies --schema > quality/policies/policy.schema.json"
    )
    VALIDATOR.check_schema(json.loads(printed))


def test_every_field_is_described():
    names = {f"{kind.__name__}.{one.name.rstrip('_')}" for kind in (Policy, Rule, Duplicates, Captions) for one in fields(kind)}
    assert names <= set(DESCRIPTIONS)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nmae = 1", "nmae"),
        ("[duplicates]\npdq_quality = 1.5", "integer"),
        ("[duplicates]\nnear_distance = 32", "maximum"),
        ("[duplicates]\nsemantic_cosine = 0.0", "exclusiveMinimum"),
        ("[captions]\npersonal_data = 'drop'", "redact"),
        ("[[rule]]\ncolumn = 'a'\nreason = 'clip:lo_similarity'\nmin = 1", "clip:lo_similarity"),
        ("[[rule]]\ncolumn = 'a'\nreason = 'clip:missing'\nmin = '1'", "number"),
        ("[[rule]]\ncolumn = 'a'\nreason = 'clip:missing'\ntop_fraction = 1.5", "maximum"),
        ("[[rule]]\ncolumn = 'a'\nreason = 'clip:missing'\nin = []", "non-empty"),
        ("[[rule]]\ncolumn = 'a'\nreason = 'clip:missing'", "not valid under any"),
        ("[[rule]]\nreason = 'clip:missing'\nmin = 1", "column"),
    ],
)
def test_parser_and_schema_refuse_the_same(text, place):
    good = "[[rule]]\ncolumn = 'a'\nreason = 'clip:missing'\nmin = 1\n"
    text = f"name = 'p'\n{text}\n" + ("" if "[[rule]]" in text else good)
    with pytest.raises(PolicyError):
        parse_policy(text, where="p.toml")
    assert any(place in error.message or place in str(error.validator) for error in VALIDATOR.iter_errors(tomllib.loads(text)))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"embedded"}))
def test_a_reserved_right_and_a_strong_deepfake_are_dropped(name):
    rules = find_policy(name).rules
    for column in ("evidence.mining", "optout"):
        (mining,) = (rule for rule in rules if rule.column == column)
        assert (mining.not_in, mining.do, mining.missing, mining.overrule) == (("disallowed",), "drop", "keep", False)
        assert mining.reason == "optout:disallowed"
    bands = {rule.do: rule.not_in for rule in rules if rule.column == "deepfake.band"}
    assert bands == {"drop": ("high",), "review": ("review",)}


@pytest.mark.parametrize("name", NAMES)
def test_personal_data_is_redacted(name):
    assert find_policy(name).captions.personal_data == "redact"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("laion2b", "--scorers embed,clip --clip_model ViT-B-32 --clip_checkpoint openai"),
        ("default", "--scorers embed,clip --clip_model ViT-B-32 --clip_checkpoint openai"),
        ("datacomp-clip30", "--scorers embed,clip --clip_model ViT-L-14 --clip_checkpoint openai"),
    ],
)
def test_another_model_than_the_recipes_is_refused_with_the_command_to_run(tmp_path, name, command):
    pool = make_pool(tmp_path, [[{}]])
    with pytest.raises(PolicyError, match="the pool has clip:pigment-embedded; score the pool with it first") as refused:
        plan_columns(pool, sorted(pool.committed()), find_policy(name), ["clip.similarity"])
    assert command in str(refused.value)


def test_a_pool_that_a_scorer_has_not_seen_is_told_the_command_to_run():
    columns = {name: one for name, one in measured().items() if not name.startswith("evidence.")}
    with pytest.raises(PolicyError, match=r"nothing called 'evidence' has scored this pool; .*--start_at score .*--scorers evidence"):
        check_policy(find_policy("commercial"), columns, where="policy commercial")


@pytest.mark.parametrize(
    ("column", "bound", "message"),
    [
        ("image.width", "in_file", "need a column of text; image.width is int32"),
        ("image.pdq", "not_in_file", "need a column of text; image.pdq is fixed_size_binary"),
        ("uid", "not_near_file", "'not_near_file' is for image.pdq alone"),
        ("image.phash", "not_near_file", "'not_near_file' is for image.pdq alone"),
    ],
)
def test_lists_for_columns_that_they_do_not_fit(tmp_path, column, bound, message):
    (tmp_path / "list.txt").write_text("a", "utf-8")
    text = f"name = 'p'\n[[rule]]\ncolumn = '{column}'\n{bound} = 'list.txt'\nreason = 'leak:picture'\n"
    with pytest.raises(PolicyError, match=message):
        check_policy(parse_policy(text, where="p.toml", folder=tmp_path), measured(), where="p.toml")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("commercial", ["public-domain", "attribution"]),
        ("default", ["public-domain", "attribution", "share-alike"]),
        ("research", ["public-domain", "attribution", "share-alike", "no-derivatives", "non-commercial"]),
    ],
)
def test_licences_by_name(name, allowed):
    rules = [rule for rule in find_policy(name).rules if rule.column == "license.class"]
    assert all(not rule.overrule and rule.do == rule.missing == "drop" for rule in rules)
    assert [rule.in_ for rule in rules if rule.in_] == [tuple(allowed)]


@pytest.mark.parametrize("name", OURS)
def test_unknown_is_never_free(name):
    rules = [rule for rule in find_policy(name).rules if rule.column == "license.class"]
    assert any("unknown" in (rule.not_in or ()) or (rule.in_ and "unknown" not in rule.in_) for rule in rules)
    assert not any("unknown" in (rule.in_ or ()) for rule in rules)
