"""Explain: what it says of a pair that lost to a near one, and of values that hang on all units."""

from pipelines.explain import find, lines_of
from schemas.columns import table_of
from schemas.policy import parse_policy
from schemas.units import Pass, ScorerInfo
from tests.pools import SCORES, add_unit, make_pool, unit
from tests.selecting import select

POLICY = """
name = "p"
[duplicates]
near = true
[[rule]]
column = "caption.repeats"
max = 2
reason = "caption:repeats"
"""


def test_near_duplicates_name_the_better_pair_and_repeats_their_count(tmp_path):
    near, photo = {"image.pdq": b"\x5a" * 32, "size": 9}, {"caption": "a photo", "size": 9}
    pool = make_pool(tmp_path, [[{**near, "image.width": 300}, near], [photo] * 2, [{**photo, "caption": "A photo"}]])
    policy = parse_policy(POLICY, where="p")
    release = select(pool, policy, "r")
    units = sorted(pool.committed())
    stories = {}
    for name in units:
        for uid in pool.read_raw(name, ["uid"])["uid"].to_pylist():
            for found in find(pool, release, uid=uid, url=None):
                stories[found.unit, found.row] = lines_of(pool, release, found, policy)
    better = pool.read_raw(units[0], ["uid"])["uid"][0].as_py()
    lost = stories[units[0], 1]
    assert "  because  duplicate:near: a better pair has nearly the same picture and colours" in lost
    assert f"  better   {better}  (explain that uid to see it)" in lost
    assert f"  that {better} were not in the pool, or ranked below it" in lost
    repeated = stories[units[2], 0]
    assert "  caption.repeats         3               at most 2                   outside" in repeated
    assert "  caption.repeats at most 2, or a policy with max = 3" in repeated
    assert "  caption.repeats         1               at most 2                   ok" in lost


def test_a_pool_that_grew_since_the_release(tmp_path):
    """What another model says of the pair now is not what was decided upon; of a unit that came later nothing was decided."""
    pool = make_pool(tmp_path, [[{"clip.similarity": 0.1, "size": 9}]])
    policy = parse_policy('name = "p"\n[[rule]]\ncolumn = "clip.similarity"\nmin = 0.2\nreason = "clip:low_similarity"\n', where="p")
    release = select(pool, policy, "r")
    add_unit(pool, unit(1), [{"size": 9}])
    other = Pass.of([ScorerInfo("clip", "ViT-B-32/openai@test", ("clip.similarity",))])
    pool.put_pass(other)
    for number in range(2):
        scores = table_of([{"clip.similarity": 0.9}], SCORES).select(["clip.similarity"])
        commit = pool.raw_commit(unit(number))
        assert commit is not None
        pool.commit_scores(other.name, unit(number), scores, input_digest=commit.content_digest)
    [old] = find(pool, release, uid=None, url="http://host.test/0/0.png")
    assert "  clip.similarity         0.1             at least 0.2                outside" in lines_of(pool, release, old, policy)
    [new] = find(pool, release, uid=None, url="http://host.test/1/0.png")
    assert lines_of(pool, release, new, policy)[-1] == "verdict    none yet: release r has not decided about it"
