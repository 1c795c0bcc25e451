"""Policies: what is valid, and messages that name file, rule and field."""

import json
from pathlib import Path

import pytest

from quality.rules import PACKAGED, find_policy
from schemas.policy import PolicyError, parse_policy, parse_stored_policy, read_policy

RULE = '[[rule]]\ncolumn = "clip.similarity"\nreason = "clip:low_similarity"\n'


def parse(text: str):
    return parse_policy(text, where="p.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope = ", "p.toml: not TOML"),
        ('name = "p"', "no \\[\\[rule\\]\\]"),
        (RULE + "min = 0.1", "field 'name' is missing"),
        ('name = "p"\nnmae = 1\n' + RULE + "min = 0.1", "unknown field 'nmae'; known: .*similarity"),
        ('name = "p"\n' + RULE, "rule 1 \\(clip.similarity\\): no bound"),
        ('name = "p"\n' + RULE + 'min = "x"', "rule 1 \\(clip.similarity\\): field 'min' must be a number, got 'x'"),
        ('name = "p"\n' + RULE + "min = true", "must be a number, got True"),
        ('name = "p"\n' + RULE + "min = nan", "must be a number, got nan"),
        ('name = "p"\n' + RULE + "in = 3", "field 'in' must be a list of values"),
        ('name = "p"\n' + RULE + "top_fraction = 1.5", "above 0 and at most 1"),
        ('name = "p"\n' + RULE + 'min = 0.1\ndo = "keep"', "field 'do' must be one of drop, review"),
        ('name = "p"\n' + RULE + 'min = 0.1\nmissing = "maybe"', "field 'missing' must be one of keep, review, drop"),
        (
            'name = "p"\n' + RULE.replace("clip:low", "clip:lo") + "min = 0.1",
            "field 'reason': unknown reason 'clip:lo_similarity'; known: clip:low",
        ),
        ('name = "p"\n' + RULE.replace("clip:low", "klip:low") + "min = 0.1", "families source"),
        (
            'name = "p"\n[duplicates]\npdq_quality = 1.5\n' + RULE + "min = 0.1",
            "\\[duplicates\\]: field 'pdq_quality' must be a whole number",
        ),
        (
            'name = "p"\n[captions]\npersonal_data = "drop"\n' + RULE + "min = 0.1",
            "\\[captions\\]: field 'personal_data' must be one of keep, redact",
        ),
        ('name = "p"\ncaptions = true\n' + RULE + "min = 0.1", "\\[captions\\]: must be a table of fields, got True"),
        ('name = "p"\n[[duplicates]]\nnear = true\n' + RULE + "min = 0.1", "\\[duplicates\\]: must be a table of fields"),
        ('name = "p"\n[captions]\npersonal = "keep"\n' + RULE + "min = 0.1", "\\[captions\\]: unknown field 'personal'"),
        (
            'name = "p"\n' + RULE + 'in_file = "none.txt"',
            "field 'in_file': none.txt: No such file or directory; paths are relative to the policy's file",
        ),
        ('name = "p"\n' + RULE + "not_near_file = 3", "field 'not_near_file' must be text"),
        ('name = "p"\n[duplicates]\nnear_distance = 32\n' + RULE + "min = 0.1", "field 'near_distance' must be from 0 to 31, .* got 32"),
        ('name = "p"\n[duplicates]\nnear = 1\n' + RULE + "min = 0.1", "\\[duplicates\\]: field 'near' must be true or false, got 1"),
        (
            'name = "p"\n[duplicates]\nnear_mode = "slow"\n' + RULE + "min = 0.1",
            "field 'near_mode' must be one of complete, fast, got 'slow'",
        ),
        (
            'name = "p"\n[duplicates]\nsemantic_cosine = 99\n' + RULE + "min = 0.1",
            "'semantic_cosine' must be above 0 and at most 1, got 99",
        ),
    ],
)
def test_mistakes_name_file_rule_and_field(text, message):
    with pytest.raises(PolicyError, match=message):
        parse(text)


def test_a_file_that_is_not_utf_8(tmp_path):
    (tmp_path / "p.toml").write_bytes('name = "caf\xe9"'.encode("latin-1"))
    with pytest.raises(PolicyError, match="not UTF-8"):
        read_policy(tmp_path / "p.toml")


def test_every_packaged_policy_is_valid():
    assert (PACKAGED / "embedded.toml").exists()
    for path in PACKAGED.glob("*.toml"):
        assert find_policy(path.stem).name == path.stem


def test_a_stored_policy_is_the_same_policy():
    policy = find_policy("embedded")
    assert parse_stored_policy(json.loads(json.dumps(policy.as_dict()))) == policy


def test_a_policy_stored_before_there_were_near_duplicates_has_none():
    stored = parse('name = "p"\n' + RULE + "min = 0.1").as_dict()
    stored["duplicates"] = {"exact": True, "pdq_quality": 50, "colour_distance": 6.0}
    read = parse_stored_policy(json.loads(json.dumps(stored)))
    assert not read.duplicates.near and not read.duplicates.semantic


def test_near_duplicates_are_part_of_the_digest():
    texts = ["near = true", "near = true\nnear_distance = 20", 'near = true\nnear_mode = "fast"', "semantic = true", "near = false"]
    digests = [parse(f'name = "p"\n[duplicates]\n{text}\n' + RULE + "min = 0.1").digest for text in texts]
    assert len(set(digests)) == len(texts)


def test_the_digest_covers_what_can_change_a_decision():
    text = 'name = "p"\ndescription = "{}"\n' + RULE + "min = {}"
    assert parse(text.format("a", 0.1)).digest == parse(text.format("b", 0.1)).digest != parse(text.format("a", 0.2)).digest


def test_what_is_done_with_captions_is_part_of_the_digest():
    text = 'name = "p"\n[captions]\npersonal_data = "{}"\n' + RULE + "min = 0.1"
    plain = parse('name = "p"\n' + RULE + "min = 0.1")
    assert parse(text.format("keep")).digest == plain.digest != parse(text.format("redact")).digest
    assert plain.captions.personal_data == "keep"


def test_a_policy_stored_before_captions_had_a_table():
    policy = parse('name = "p"\n' + RULE + "min = 0.1")
    stored = json.loads(json.dumps(policy.as_dict()))
    del stored["captions"]
    assert parse_stored_policy(stored) == policy


def test_unknown_names_are_told_what_there_is(tmp_path: Path):
    with pytest.raises(PolicyError, match=r"packaged are .*embedded"):
        find_policy("no-such")
    with pytest.raises(PolicyError, match="Is a directory"):
        find_policy(str(tmp_path))


def test_a_policy_that_names_no_version_of_captions_is_what_it_was():
    text = 'name = "x"\n{}[[rule]]\ncolumn = "clip.similarity"\nmin = 0.1\nreason = "clip:low_similarity"\n'
    plain, said, other = (
        parse_policy(text.format(line), where="x") for line in ("", 'caption = "caption"\n', 'caption = "caption@blip2"\n')
    )
    assert plain == said and plain.digest == said.digest and "caption" not in plain.as_dict() and plain.caption_version is None
    assert other.caption_version == "blip2" and other.digest != plain.digest
    for policy in (plain, other):
        assert parse_stored_policy(json.loads(json.dumps(policy.as_dict()))) == policy
    for wrong in ("blip2", "caption@", "caption@Blip2", "caption@a/b", "caption@a--b", "captions@a"):
        with pytest.raises(PolicyError, match="field 'caption'"):
            parse_policy(text.format(f'caption = "{wrong}"\n'), where="x")
