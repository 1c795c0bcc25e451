"""Forgetting in a dataset behind a URL: S3 and Google Cloud Storage, on 127.0.0.1."""

from pathlib import Path

import pytest

from pipelines.forgetting.check import check_lines
from schemas.pool import Pool
from schemas.release import Release, latest
from schemas.store import open_store
from tests.forgetting import Dataset, forget_quickly, left, make_dataset, write_ids
from tests.stores import KINDS, downloaded, remote, uploaded


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_in_a_bucket_nor_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    whole = make_dataset(tmp_path / "data")
    pairs = [whole.of(0, 1), whole.of(2, 3)]
    ids = write_ids(tmp_path / "ids.txt", [pairs[0].url])
    monkeypatch.chdir(tmp_path)
    log = (whole.root / "logs/ingest.log").read_text("utf-8")
    (whole.root / "logs/ingest.log").unlink()
    for file in whole.root.glob("reviews/review.sqlite*"):
        file.unlink()
    with remote(kind) as running:
        url = uploaded(whole.root, f"{running.url}/data")
        beside = open_store(url).beside
        (beside / "logs").mkdir(parents=True)
        (beside / "logs/ingest.log").write_text(log, "utf-8")
        assert len(left(Dataset(downloaded(url, tmp_path / "before"), whole.pairs), *pairs)) > 20
        assert forget_quickly(url, ids) == 0
        pool = Pool(url)
        assert check_lines(pool, None)[0] == 0
        manifest = Release(pool.store, str(latest(pool.store))).manifest()
        assert manifest is not None and manifest["parent"] == "two"
        assert forget_quickly(url, ids) == 0  # again is no error
        after = Dataset(downloaded(url, tmp_path / "after"), whole.pairs)
    assert left(after, *pairs) == [] and left(Dataset(beside, whole.pairs), *pairs) == []
    assert len(left(after, whole.of(0, 2))) > 10 and "begin" in (beside / "logs/ingest.log").read_text("utf-8")
