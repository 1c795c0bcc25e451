"""Select with rules on lists and on captions: decided for real, explained later, the same release wherever a list lies."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.explain import find, lines_of
from schemas.columns import uid_of
from schemas.policy import parse_policy, parse_stored_policy
from schemas.value_lists import ListError, write_ids
from tests.pipelines.test_select_pairs import decisions, reasons, select
from tests.pools import make_pool, unit

UIDS = [uid_of(url=f"http://host.test/0/{row}.png", sha256=None, caption=f"picture number {row} of 0") for row in range(4)]
RULE = '[[rule]]\ncolumn = "{column}"\n{bound}\nreason = "{reason}"\n{more}\n'


def policy(folder: Path, column: str, bound: str, reason: str, more: str = "", head: str = ""):
    return parse_policy(
        'name = "p"\n' + head + RULE.format(column=column, bound=bound, reason=reason, more=more), where="p.toml", folder=folder
    )


def decided(root: Path, rows, chosen):
    return decisions(select(make_pool(root / "pool", [rows]), chosen), [unit(0)])


def test_a_subset_of_datacomps_kind_selects_and_excludes(tmp_path):
    write_ids([UIDS[2], UIDS[0]], tmp_path / "subset.npy")
    pool = make_pool(tmp_path / "pool", [[{}] * 4])
    within = decisions(select(pool, policy(tmp_path, "uid", 'in_file = "subset.npy"', "id:not_in_list"), release="in"), [unit(0)])
    outside = decisions(select(pool, policy(tmp_path, "uid", 'not_in_file = "subset.npy"', "id:in_list"), release="out"), [unit(0)])
    assert [row["verdict"] for row in within.values()] == ["keep", "drop", "keep", "drop"]
    assert reasons(within)[0, 1] == ("drop", "id:not_in_list")
    assert reasons(outside)[0, 0] == ("drop", "id:in_list") and outside[0, 1]["verdict"] == "keep"


def test_a_caption_of_an_evaluation_set_however_it_is_spelled(tmp_path):
    (tmp_path / "coco.txt").write_text("A dog  on\ta beach\n", "utf-8")
    rows = [{"caption": "a DOG on a beach "}, {"caption": "a dog on the beach"}, {"caption": None}]
    chosen = policy(tmp_path, "caption.normalised", 'not_in_file = "coco.txt"', "leak:caption")
    assert reasons(decided(tmp_path, rows, chosen)) == {
        (0, 0): ("drop", "leak:caption"),
        (0, 1): ("keep",),
        (0, 2): ("drop", "leak:missing"),
    }


def test_a_picture_near_one_of_an_evaluation_set(tmp_path):
    listed, near = bytes(32), b"\x01" * 31 + b"\0"
    (tmp_path / "coco.pdq").write_text(listed.hex() + "\n", "utf-8")
    rows = [
        {"image.pdq": near, "image.pdq_quality": 50},
        {"image.pdq": near, "image.pdq_quality": 49},
        {"image.pdq": b"\x01" * 32, "image.pdq_quality": 100},  # at distance 32
        {"image.pdq": None, "image.pdq_quality": None},
    ]
    chosen = policy(tmp_path, "image.pdq", 'not_near_file = "coco.pdq"', "leak:picture", 'missing = "keep"')
    assert [row["verdict"] for row in decided(tmp_path, rows, chosen).values()] == ["drop", "keep", "keep", "keep"]
    stricter = policy(
        tmp_path, "image.pdq", 'not_near_file = "coco.pdq"', "leak:picture", 'missing = "keep"', "[duplicates]\npdq_quality = 49\n"
    )
    assert reasons(decided(tmp_path / "other", rows, stricter))[0, 1] == ("drop", "leak:picture")


def test_the_same_values_are_the_same_policy_wherever_they_lie(tmp_path):
    (tmp_path / "a.txt").write_text(f"{UIDS[0]}\n{UIDS[1]}\n", "utf-8")
    (tmp_path / "lists").mkdir()
    write_ids([UIDS[1], UIDS[0]], tmp_path / "lists" / "b.npy")
    (tmp_path / "c.txt").write_text(UIDS[0], "utf-8")
    a, b, c = (policy(tmp_path, "uid", f'in_file = "{name}"', "id:not_in_list").digest for name in ("a.txt", "lists/b.npy", "c.txt"))
    assert a == b != c


def test_a_stored_policy_is_read_and_explained_without_its_list(tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(UIDS[:2]), "utf-8")
    chosen = policy(tmp_path, "uid", 'not_in_file = "ids.txt"', "id:in_list")
    pool = make_pool(tmp_path / "pool", [[{"size": 10}] * 3])
    release = select(pool, chosen)
    text = json.dumps(chosen.as_dict())
    assert UIDS[0] not in text and str(tmp_path) not in text
    (tmp_path / "ids.txt").unlink()
    stored = parse_stored_policy(json.loads(text))
    assert stored == chosen and stored.digest == chosen.digest
    with pytest.raises(ListError, match="not at hand"):
        stored.rules[0].lists["not_in_file"].read()
    release.put_run({"policy": chosen.as_dict()})
    told = {}
    for row in (0, 2):
        (found,) = find(pool, release, uid=UIDS[row], url=None)
        told[row] = "\n".join(lines_of(pool, release, found, stored))
    assert "in no list of 2" in told[0] and "outside" in told[0] and "id:in_list" in told[0]
    assert "outside" not in told[2]


def test_personal_data_stays_in_the_pool_alone(tmp_path):
    caption = "write to jane.doe@example.com"
    (tmp_path / "none.txt").write_text("nothing", "utf-8")
    chosen = policy(
        tmp_path, "caption.normalised", 'not_in_file = "none.txt"', "leak:caption", head='[captions]\npersonal_data = "redact"\n'
    )
    pool = make_pool(tmp_path / "pool", [[{"caption": caption}, {"caption": "a cat"}]])
    found = decisions(select(pool, chosen), [unit(0)])
    assert [row["caption.normalised"] for row in found.values()] == ["write to [e-mail]", "a cat"]
    assert pool.read_raw(unit(0), ["caption"])["caption"].to_pylist() == [caption, "a cat"]
    kept = decisions(
        select(pool, policy(tmp_path, "caption.normalised", 'not_in_file = "none.txt"', "leak:caption"), release="k"), [unit(0)]
    )
    assert kept[0, 0]["caption.normalised"] == caption


def test_ten_thousand_ids_over_many_units(tmp_path):
    rng = np.random.default_rng(0)
    others = [rng.bytes(16).hex() for _ in range(10_000)]
    write_ids([*others, *UIDS[:1]], tmp_path / "ids.npy")
    pool = make_pool(tmp_path / "pool", [[{}] * 4, [{}] * 4])
    found = decisions(select(pool, policy(tmp_path, "uid", 'in_file = "ids.npy"', "id:not_in_list")), [unit(0), unit(1)])
    assert [place for place, row in found.items() if row["verdict"] == "keep"] == [(0, 0)]
