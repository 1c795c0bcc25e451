"""A pool that two CLIP models have scored: each policy decides by its own, and shards say that one's similarity."""

import pyarrow as pa
import pytest

from pipelines.release_job import scalar_scores
from quality.selection import plan_selection
from schemas.columns import table_of
from schemas.policy import PolicyError, parse_policy
from schemas.pool import Pool
from schemas.units import Pass, ScorerInfo
from tests.pipelines.test_select_pairs import decisions, select
from tests.pools import PASS, SCORES, make_pool, unit

OTHER = Pass.of([ScorerInfo("clip", "ViT-B-32/openai@test", ("clip.similarity",))])
RULE = '[[rule]]\ncolumn = "{}"\n{}\nreason = "clip:low_similarity"\n'


def policy(rule: str):
    return parse_policy('name = "p"\n' + rule, where="p.toml")


@pytest.fixture
def pool(tmp_path) -> Pool:
    """Two pairs; the embedded model likes the first better, the other model the second."""
    pool = make_pool(tmp_path, [[{"clip.similarity": 0.9}, {"clip.similarity": 0.1}]])
    pool.put_pass(OTHER)
    commit = pool.raw_commit(unit(0))
    assert commit is not None
    scores = table_of([{"clip.similarity": 0.1}, {"clip.similarity": 0.9}], SCORES).select(["clip.similarity"])
    pool.commit_scores(OTHER.name, unit(0), scores, input_digest=commit.content_digest)
    return pool


@pytest.mark.parametrize(
    ("scorer", "verdicts", "pass_"),
    [("clip:pigment-embedded", ["keep", "drop"], PASS.name), ("clip:ViT-B-32/openai", ["drop", "keep"], OTHER.name)],
)
def test_each_policy_decides_by_its_own(pool, scorer, verdicts, pass_):
    chosen = policy(RULE.format("clip.similarity", f'min = 0.5\nscorer = "{scorer}"'))
    found = decisions(select(pool, chosen), [unit(0)])
    assert [row["verdict"] for row in found.values()] == verdicts
    columns = [
        (name, column) for name, names in scalar_scores(pool, [unit(0)], plan_selection(pool, [unit(0)], chosen)) for column in names
    ]
    assert [name for name, column in columns if column == "clip.similarity"] == [pass_]
    assert len({column for _, column in columns}) == len(columns)


def test_a_bound_without_a_scorer_is_refused(pool):
    with pytest.raises(PolicyError, match=r"several scorers of this pool .* for clip\.similarity --read_scorer clip:ViT-B-32/openai or"):
        plan_selection(pool, [unit(0)], policy(RULE.format("clip.similarity", "min = 0.5")))


def test_a_policy_that_names_two_scorers_of_one_column_is_refused(pool):
    rules = [
        RULE.format("clip.similarity", f'min = {low}\nscorer = "clip:{model}"') for low, model in ((0.5, "pigment-embedded"), (0.2, "x"))
    ]
    with pytest.raises(PolicyError, match="were calibrated on clip:pigment-embedded and on clip:x"):
        plan_selection(pool, [unit(0)], policy("".join(rules)))


@pytest.mark.parametrize("model", ["image", "zoom"])
def test_duplicates_look_at_the_scorer_that_a_rule_names(pool, model):
    other, commit = Pass.of([ScorerInfo("image", "zoom@test", PASS.scorers[2].columns)]), pool.raw_commit(unit(0))
    assert commit is not None
    pool.put_pass(other)
    pool.commit_scores(
        other.name, unit(0), pool.read_scores(PASS.name, unit(0), other.scorers[0].columns), input_digest=commit.content_digest
    )
    rule = f'[[rule]]\ncolumn = "image.width"\nmin = 1\nscorer = "image:{model}"\nreason = "image:too_small"\n'
    plan = plan_selection(pool, [unit(0)], policy(rule))
    read = {name: {column for column in columns if column.startswith("image.")} for name, columns in plan.scores.items()}
    assert read[PASS.name if model == "image" else other.name] == set(other.scorers[0].columns)


@pytest.mark.parametrize("scorer", ["evidence-sum", "evidence-sum+probe-1"])
def test_what_a_shard_says_beside_a_band_is_of_the_same_scorer(pool, scorer):
    """The rule names the scorer of `deepfake.band`; no rule names `deepfake.evidence`."""
    columns, commit, passes = ("deepfake.band", "deepfake.evidence"), pool.raw_commit(unit(0)), {}
    assert commit is not None
    for model in ("evidence-sum", "evidence-sum+probe-1"):
        passes[model] = Pass.of([ScorerInfo("deepfake", f"{model}@test", columns)])
        pool.put_pass(passes[model])
        table = pa.table({name: [model, model] for name in columns})
        pool.commit_scores(passes[model].name, unit(0), table, input_digest=commit.content_digest)
    rule = f'[[rule]]\ncolumn = "deepfake.band"\nnot_in = ["high"]\nscorer = "deepfake:{scorer}"\nreason = "deepfake:high"\n'
    found = dict(scalar_scores(pool, [unit(0)], plan_selection(pool, [unit(0)], policy(rule))))
    assert {model: found[pass_.name] for model, pass_ in passes.items()} == {
        model: list(columns) if model == scorer else [] for model in passes
    }


def test_a_policy_that_only_ranks_by_similarity_takes_the_same_one_always(pool):
    plan = plan_selection(
        pool, [unit(0)], policy(RULE.format("caption.words", "min = 1").replace("clip:low_similarity", "caption:too_short"))
    )
    assert [name for name, names in plan.scores.items() if "clip.similarity" in names] == [OTHER.name]
