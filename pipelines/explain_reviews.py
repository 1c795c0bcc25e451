"""What people decided about a pair, what that changed, and what the release before said of it: lines of pipelines.explain."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from quality.rules import judge
from schemas.policy import Policy
from schemas.release import Release
from schemas.reviews import KEEP


def people_lines(release: Release, unit: str, decided: pa.Table, policy: Policy) -> list[str]:
    """One line per question that was settled before the release. decided: the pair's row of decisions."""
    settled, uid = release.read_settled(), decided["uid"][0].as_py()
    about = [] if settled is None else settled.filter(pc.equal(settled["uid"], uid)).to_pylist()
    if not about:
        return []
    found = _found_by_rules(decided, policy, _cuts(release, unit, policy))
    return [f"people     {row['answer']} to {row['question']}: {_effect(row['question'], row['answer'], found, policy)}" for row in about]


def _effect(question: str, answer: str, found: set[str], policy: Policy) -> str:
    given = {reason for rule in policy.rules for reason in rule.gives}
    if question != KEEP and question not in given:
        return "changes nothing, for no rule of the policy can give that reason"
    if answer == ("no" if question == KEEP else "yes"):
        return "it is rejected"
    if question != KEEP and question not in policy.overrulable:
        return "changes nothing, for the policy lets nobody overrule it"
    asked = found if question == KEEP else found & {question}
    lifted, stands = sorted(asked & policy.overrulable), sorted(asked - policy.overrulable)
    told = (
        f"{' and '.join(lifted)} {'do' if len(lifted) > 1 else 'does'} not count" if lifted else "the rules find nothing that it could lift"
    )
    return told + (f"; {' and '.join(stands)} {'stand' if len(stands) > 1 else 'stands'}, for nobody may overrule it" if stands else "")


def _found_by_rules(decided: pa.Table, policy: Policy, cuts: Mapping[str, float]) -> set[str]:
    """The reasons that the rules alone give, as far as stored values tell: a list's values are not at hand any more."""
    found = set[str]()
    for index, rule in enumerate(policy.rules):
        if rule.column in decided.column_names and not rule.lists:
            missing, violates = (bool(each[0]) for each in judge(rule, decided, cuts.get(str(index)), policy.duplicates.pdq_quality))
            found |= {rule.missing_reason} if missing and rule.missing != "keep" else {rule.reason} if violates else set()
    return found


def _cuts(release: Release, unit: str, policy: Policy) -> Mapping[str, float]:
    if not any(rule.top_fraction for rule in policy.rules):
        return {}
    return next(decided.cuts for decided in release.decided() if decided.unit == unit)


def before_lines(release: Release, places: Sequence[tuple[str, int]], decided: pa.Table) -> list[str]:
    """What the release's parent said of the pair, where that was something else. places: units and rows where it stood, the newest first."""
    run = release.run()
    name = None if run is None else run.get("parent")
    before = None if name is None else next(_decisions_at(Release(release.store, name), places), None)
    if before is None:  # no parent, or fetched since
        return []
    [old], [new] = ([(pair["verdict"], pair["reasons"]) for pair in table.to_pylist()] for table in (before, decided))
    return [] if old == new else [f"before     {old[0]}{', because ' * bool(old[1])}{' and '.join(old[1])}  (release {name}, its parent)"]


def _decisions_at(release: Release, places: Sequence[tuple[str, int]]) -> Iterator[pa.Table]:
    """The row of decisions at each place that the release has decided about."""
    for unit, row in places:
        try:
            yield release.read_decisions(unit).slice(row, 1)
        except FileNotFoundError:
            continue
