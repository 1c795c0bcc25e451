"""Which scorer a policy means, where several scorers of a pool gave a column and its rules do not say: the user's word."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.policy import Policy, PolicyError, Rule
from schemas.units import ScorerInfo


def with_scorers(policy: Policy, named: Sequence[str], *, strict: bool = True) -> Policy:
    """The policy, its rules naming the scorers in `named` where they name none, or the same model without a version.

    named: "<name>:<model>", or "<name>:<whole version>", at most one a name. They become part of the policy's digest and of the manifest.
    Raises PolicyError for what is no such thing, and, if strict, for one that no rule can mean.
    """
    chosen = dict[str, str]()
    for text in named:
        name, colon, model = text.partition(":")
        if not (name and colon and model):
            raise PolicyError(f"--read_scorer {text}: write <scorer>:<model>, as messages and manifests have it")
        if chosen.setdefault(name, text) != text:
            raise PolicyError(f"--read_scorer {chosen[name]} and {text}: a policy decides by one scorer of a column")
    rules = tuple(_named(rule, chosen.get(rule.column.partition(".")[0])) for rule in policy.rules)
    unused = set(chosen.values()) - {rule.scorer for rule in rules}
    if strict and unused:
        raise PolicyError(f"--read_scorer {min(unused)}: policy {policy.name} has no rule that could mean it; leave it out")
    return replace(policy, rules=rules)


def named_as(policy: Policy, other: Policy) -> Policy:
    """The policy, its rules naming the scorers that the rules in their places of `other` name, where :func:`with_scorers` could have done so."""
    if len(policy.rules) != len(other.rules):
        return policy
    return replace(policy, rules=tuple(_named(rule, like.scorer) for rule, like in zip(policy.rules, other.rules, strict=True)))


def _named(rule: Rule, chosen: str | None) -> Rule:
    if chosen is None or not (rule.scorer is None or chosen.startswith(rule.scorer + "@")):
        return rule
    return replace(rule, scorer=chosen)


def choices_text(choices: Mapping[str, Sequence[ScorerInfo]]) -> str:
    """By column, the scorers that gave it: what to type for each scorer that has to be named, as "for deepfake.band --read_scorer 'a' or …"."""
    told = list[str]()
    for column, scorers in sorted(_one_a_scorer(choices).items()):
        models = [scorer.calibration for scorer in scorers]
        names = sorted({one.calibration if models.count(one.calibration) == 1 else one.identity for one in scorers})
        told.append(f"for {column} " + " or ".join(f"--read_scorer {shlex.quote(name)}" for name in names))
    return ", ".join(told)


def _one_a_scorer(choices: Mapping[str, Sequence[ScorerInfo]]) -> dict[str, list[ScorerInfo]]:
    """The first column of each scorer, and what gave it, each version once."""
    found = dict[str, tuple[str, list[ScorerInfo]]]()
    for column, scorers in choices.items():
        distinct = {scorer.version: scorer for scorer in scorers}
        found.setdefault(column.partition(".")[0], (column, list(distinct.values())))
    return dict(found.values())
