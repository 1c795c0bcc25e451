"""Pairs of a pool that came to be listed later: by every column that is stored, those asked about and no others."""

import hashlib

import numpy as np
import pytest

from quality.block_lists import listed_pairs, listed_rows
from schemas.columns import table_of
from schemas.units import Pass, ScorerInfo
from tests.block_lists import lists_of
from tests.pools import SCORES, make_pool, unit
from tests.releases import jpeg, make_release

ALL = np.ones(6, bool)
PDQ = "0f" * 32


@pytest.fixture
def pool(tmp_path):
    rows = [{}, {"source_page": "https://bad.test/"}, {"final_url": "http://bad.test/"}, {"image.pdq": bytes.fromhex(PDQ)}]
    return make_pool(tmp_path / "pool", [[*rows, {"image.pdq": bytes.fromhex(PDQ), "image.pdq_quality": 49}, {"status": "invalid"}]])


def test_every_stored_column_is_asked(pool, tmp_path):
    digest = pool.read_raw(unit(0), ["sha256"])["sha256"][0].as_py()
    lists = lists_of(tmp_path / "lists", sha256=[digest], domains=["bad.test"], pdq=[PDQ])
    assert listed_rows(pool, unit(0), lists, ALL).tolist() == [True, True, True, True, False, False]
    some = np.array([False, True, False, True, True, True])
    assert listed_rows(pool, unit(0), lists, some).tolist() == [False, True, False, True, False, False]
    assert not listed_rows(pool, unit(0), lists, ~ALL).any()
    assert not listed_rows(pool, unit(0), lists_of(tmp_path / "none", domains=["good.test"]), ALL).any()


def test_hashes_of_any_pass_count(pool, tmp_path):
    other = Pass.of([ScorerInfo("image", "image@other", ("image.pdq", "image.pdq_quality"))])
    pool.put_pass(other)
    hashes = [{"image.pdq": bytes.fromhex("f0" * 32), "image.pdq_quality": 100}] + [{}] * 5
    scores = table_of(hashes, SCORES).select(["image.pdq", "image.pdq_quality"])
    pool.commit_scores(other.name, unit(0), scores, input_digest=pool.raw_commit(unit(0)).content_digest)
    lists = lists_of(tmp_path / "lists", pdq=["f0" * 32, PDQ])
    assert listed_rows(pool, unit(0), lists, ALL).tolist() == [True, False, False, True, False, False]


def test_pairs_are_held_against_bytes_and_columns(tmp_path):
    """Rows 8 and on of the unit were not fetched: they have no bytes. Order and repeats of what is asked stay."""
    pool, _ = make_release(tmp_path, units=1)
    digest = pool.read_raw(unit(0), ["sha256"])["sha256"][3].as_py()
    md5, sha1 = hashlib.md5(jpeg(1)).hexdigest(), hashlib.sha1(jpeg(5)).hexdigest()
    lists = lists_of(tmp_path / "lists", md5=[md5], sha1=[sha1], sha256=[digest], urls=["http://host.test/0/9.jpg"])
    asked = [9, 5, 0, 3, 11, 1, 5]
    assert listed_pairs(pool, unit(0), lists, asked).tolist() == [True, True, False, True, False, True, True]
    assert not listed_pairs(pool, unit(0), lists_of(tmp_path / "other", md5=["0" * 32]), asked).any()
    assert not listed_pairs(pool, unit(0), lists, []).size
    with pytest.raises(FileNotFoundError, match="is not in the pool"):
        listed_pairs(pool, unit(7), lists, [0])
