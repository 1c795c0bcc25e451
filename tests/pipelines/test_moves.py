"""Who changes sides between two policies, and why."""

import argparse
import json
from pathlib import Path

from pipelines.moves import move_lines, moves_between
from pipelines.what_if import what_if
from schemas.columns import uid_of
from tests.pipelines.test_select_pairs import policy_of, select
from tests.pools import make_pool, unit

RULE = '[[rule]]\ncolumn = "{}"\n{}\nreason = "{}"\n'
LOOSE = 'name = "loose"\n' + RULE.format("clip.similarity", "min = 0.1", "clip:low_similarity")
STRICT = (
    'name = "strict"\n'
    + RULE.format("clip.similarity", "min = 0.3", "clip:low_similarity")
    + RULE.format("nsfw.open_nsfw", 'max = 0.5\ndo = "review"', "nsfw:possible")
    + RULE.format("caption.words", "min = 2", "caption:too_short")
)
ROWS = [
    [
        {"clip.similarity": 0.5},  # keep, keep
        {"clip.similarity": 0.2},  # keep, drop: similarity
        {"clip.similarity": 0.05},  # drop, drop
        {"nsfw.open_nsfw": 0.9},  # keep, review
        {"clip.similarity": 0.2, "caption": "cat"},  # keep, drop: two reasons
    ],
    [{"clip.similarity": 0.25}, {"clip.similarity": 0.22}, {"clip.similarity": 0.21}, {"clip.similarity": 0.05, "caption": "dog"}],
]


def uid(chunk: int, row: int) -> str:
    caption = ROWS[chunk][row].get("caption", f"picture number {row} of {chunk}")
    return uid_of(url=f"http://host.test/{chunk}/{row}.png", sha256=None, caption=caption)


def moves_of(root: Path, before: str, after: str):
    pool = make_pool(root, ROWS)
    return moves_between(select(pool, policy_of(before), release="b"), select(pool, policy_of(after), release="a"), [unit(0), unit(1)])


def test_stricter_says_what_is_found(tmp_path):
    moves = moves_of(tmp_path, LOOSE, STRICT)
    counts = {pair: count for pair, count in moves.pairs.items() if count}
    assert counts == {("keep", "keep"): 1, ("keep", "drop"): 5, ("keep", "review"): 1, ("drop", "drop"): 2}
    assert [(move.before, move.after, move.pairs) for move in moves.moves] == [("keep", "drop", 5), ("keep", "review", 1)]
    drops = moves.moves[0].reasons
    assert {reason: why.pairs for reason, why in drops.items()} == {"clip:low_similarity": 5, "caption:too_short": 1}
    assert drops["clip:low_similarity"].uids == [uid(0, 1), uid(0, 4), uid(1, 0)], "the first three, in the pool's order"
    assert drops["caption:too_short"].uids == [uid(0, 4)]
    assert moves.moves[1].reasons["nsfw:possible"].uids == [uid(0, 3)]


def test_milder_says_what_is_no_longer_found(tmp_path):
    moves = moves_of(tmp_path, STRICT, LOOSE)
    assert [(move.before, move.after, move.pairs) for move in moves.moves] == [("drop", "keep", 5), ("review", "keep", 1)]
    assert {reason: why.pairs for reason, why in moves.moves[0].reasons.items()} == {"clip:low_similarity": 5, "caption:too_short": 1}
    text = "\n".join(move_lines(moves, before="strict", after="loose"))
    assert "drop -> keep  5 pairs, because loose no longer finds" in text and uid(1, 0) in text and uid(1, 1) not in text


def test_the_same_reason_with_another_verdict(tmp_path):
    mild = LOOSE.replace("min = 0.1", 'min = 0.3\ndo = "review"')
    moves = moves_of(tmp_path, mild, LOOSE.replace("0.1", "0.3"))
    assert [(move.before, move.after) for move in moves.moves] == [("review", "drop")]
    assert moves.moves[0].reasons["clip:low_similarity"].pairs == moves.moves[0].pairs == 7


def test_nobody_moves(tmp_path):
    moves = moves_of(tmp_path, LOOSE, LOOSE)
    assert moves.moves == [] and move_lines(moves, before="a", after="b")[-1] == "no pair changes sides"
    assert sum(moves.pairs.values()) == 9


def test_the_command_writes_nothing_and_speaks_json(tmp_path):
    make_pool(tmp_path / "data", ROWS)
    for name, text in (("loose", LOOSE), ("strict", STRICT)):
        (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    before = sorted(tmp_path.rglob("*"))
    args = argparse.Namespace(
        dataset=str(tmp_path / "data"), policy=str(tmp_path / "strict.toml"), against=str(tmp_path / "loose.toml"),
        runner="DirectRunner", json=False, reviews=None, read_scorer=[],
    )  # fmt: skip
    lines = what_if(args)
    assert lines[0] == "policy strict would give (now: policy loose)" and lines[-1] == "nothing was written"
    assert any("keep -> drop  5 pairs" in line for line in lines)
    args.json = True
    (told,) = map(json.loads, what_if(args))
    assert told["moves"][0]["reasons"]["clip:low_similarity"]["pairs"] == 5 and told["funnel"]["keep"] == 1
    args.against = None
    (alone,) = map(json.loads, what_if(args))
    assert alone["funnel"] == told["funnel"] and (alone["policy"], alone["release"], alone["funnel_now"]) == ("strict", None, None)
    assert sorted(tmp_path.rglob("*")) == before
