"""A pool that was scored twice: the message says what to type, and typed, it decides."""

import shlex

import pyarrow as pa
import pytest

from quality.named_scorers import with_scorers
from quality.rules import find_policy
from quality.selection import plan_selection
from schemas.policy import Policy, PolicyError, parse_policy
from schemas.pool import Pool
from schemas.units import Pass, ScorerInfo
from tests.pools import make_pool, unit

RULE = '[[rule]]\ncolumn = "{}"\nnot_in = ["x"]\nreason = "deepfake:high"\n{}'
BAND, MINING = ("deepfake.band", "deepfake.evidence"), ("evidence.mining",)
MODELS = {  # two lists of names; evidence with two lists of trust, which makes two versions of one model of deepfake
    "names": [ScorerInfo("deepfake", f"evidence-sum{names}@t;columns;of aa;2", BAND) for names in ("", "+names-1a2b3c4d")],
    "lists": [ScorerInfo("deepfake", f"evidence-sum@t;columns;of {of};2", BAND) for of in ("aa", "bb")],
    "evidence": [ScorerInfo("evidence", f"metadata{trust}@2", MINING) for trust in ("", "+trust-5e6f7a8b")],
}


def policy(*columns: str, scorer: str = "") -> Policy:
    return parse_policy('name = "p"\n' + "".join(RULE.format(column, scorer) for column in columns), where="p.toml")


def add(pool: Pool, *infos: ScorerInfo) -> dict[str, str]:
    """Scores the pool with each on its own; pass by whole version."""
    commit, passes = pool.raw_commit(unit(0)), {}
    for info in infos:
        pass_ = Pass.of([info])
        pool.put_pass(pass_)
        pool.commit_scores(
            pass_.name, unit(0), pa.table({name: [info.version] for name in info.columns}), input_digest=commit.content_digest
        )
        passes[info.version] = pass_.name
    return passes


@pytest.fixture
def pool(tmp_path) -> Pool:
    return make_pool(tmp_path, [[{}]])


@pytest.mark.parametrize("kind", ["names", "lists"])
def test_what_the_message_says_to_type_resolves_it(pool, kind):
    passes = add(pool, *MODELS[kind])
    plain = policy("deepfake.band")
    with pytest.raises(PolicyError, match=r"several scorers of this pool .* for deepfake\.band --read_scorer ") as refused:
        plan_selection(pool, [unit(0)], plain)
    words = shlex.split(str(refused.value).rpartition("; or,")[0])
    typed = [words[place + 1] for place, word in enumerate(words) if word == "--read_scorer"]
    assert len(typed) == 2
    digests = {plain.digest}
    for text in typed:
        [info] = [one for one in MODELS[kind] if text in (one.calibration, one.identity)]
        chosen = with_scorers(plain, [text])
        plan = plan_selection(pool, [unit(0)], chosen)
        assert plan.scores[passes[info.version]] == ("deepfake.band",), text
        digests.add(chosen.digest)
    assert len(digests) == 3, "what was named is part of what a release is made from"


def test_all_that_is_unclear_is_told_at_once(pool):
    add(pool, *MODELS["names"], *MODELS["evidence"])
    both = policy("deepfake.band", "evidence.mining")
    with pytest.raises(PolicyError) as refused:
        plan_selection(pool, [unit(0)], both)
    assert (
        "for deepfake.band --read_scorer deepfake:evidence-sum or --read_scorer deepfake:evidence-sum+names-1a2b3c4d, "
        "for evidence.mining --read_scorer evidence:metadata or --read_scorer evidence:metadata+trust-5e6f7a8b;"
    ) in str(refused.value)
    plan_selection(pool, [unit(0)], with_scorers(both, ["deepfake:evidence-sum", "evidence:metadata+trust-5e6f7a8b"]))


def test_a_rule_that_names_a_model_is_given_a_version_and_no_other_model(pool):
    passes = add(pool, *MODELS["lists"])
    named = policy("deepfake.band", scorer='scorer = "deepfake:evidence-sum"')
    with pytest.raises(PolicyError, match="--read_scorer 'deepfake:evidence-sum@t;columns;of aa;2'"):
        plan_selection(pool, [unit(0)], named)
    whole = MODELS["lists"][1]
    assert plan_selection(pool, [unit(0)], with_scorers(named, [whole.identity])).scores[passes[whole.version]] == ("deepfake.band",)
    for other in ("deepfake:evidence-sum+names-1a2b3c4d", "nsfw:open-nsfw"):
        with pytest.raises(PolicyError, match=r"p has no rule that could mean it"):
            with_scorers(named, [other])
        assert with_scorers(named, [other], strict=False) == named


def test_a_packaged_policy_can_be_told(pool):
    """Its rules on the band name no scorer, and the user cannot write into them."""
    told = with_scorers(find_policy("default"), ["deepfake:evidence-sum+names-1a2b3c4d"])
    assert {rule.scorer for rule in told.rules if rule.column == "deepfake.band"} == {"deepfake:evidence-sum+names-1a2b3c4d"}
    assert [rule for rule in told.rules if rule.column != "deepfake.band"] == [
        rule for rule in find_policy("default").rules if rule.column != "deepfake.band"
    ]
    assert with_scorers(find_policy("default"), []) == find_policy("default")


def test_mistakes():
    for wrong in ("deepfake", ":x", "deepfake:"):
        with pytest.raises(PolicyError, match=f"--read_scorer {wrong}: write <scorer>:<model>"):
            with_scorers(policy("deepfake.band"), [wrong])
    with pytest.raises(PolicyError, match="a policy decides by one scorer of a column"):
        with_scorers(policy("deepfake.band"), ["deepfake:a", "deepfake:b"])
