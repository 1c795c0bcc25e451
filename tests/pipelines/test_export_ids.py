"""Ids out of a release: what DataComp's resharder would read, and what a policy reads back."""

import numpy as np
import pytest

from pipelines.export_ids import main
from pipelines.options import UsageError
from pipelines.publish import publish
from quality.block_lists import ENVIRONMENT
from quality.listed import is_listed
from schemas.columns import uid_of
from schemas.value_lists import ListError, find_list
from tests.block_lists import write_lists
from tests.releases import make_release


@pytest.fixture
def published(tmp_path):
    pool, release = make_release(tmp_path)
    publish(pool, release)
    return pool, release


def kept_uids(release) -> list[str]:
    rows = [row for decided in release.decided() for row in release.read_decisions(decided.unit, ["uid", "verdict"]).to_pylist()]
    return sorted(row["uid"] for row in rows if row["verdict"] == "keep")


def test_the_array_is_datacomps(published, tmp_path):
    pool, release = published
    assert main(["--dataset", pool.store.root, "--out", str(tmp_path / "kept.npy")]) == 0
    # As resharder.py opens a subset file: np.load(path, mmap_mode="r") of dtype u8,u8 exactly, searched by bisection.
    array = np.load(tmp_path / "kept.npy", mmap_mode="r", allow_pickle=False)
    uids = kept_uids(release)
    assert array.dtype == np.dtype("u8,u8") and len(array) == len(uids) == 18
    assert [f"{high:016x}{low:016x}" for high, low in array.tolist()] == uids
    assert array.tolist() == sorted(array.tolist())
    for uid in (*uids, "0" * 32):
        key = np.array([divmod(int(uid, 16), 2**64)], "u8,u8")[0]
        found = np.searchsorted(array, key, "right") - np.searchsorted(array, key, "left")
        assert found == (uid in uids), "the resharder writes a sample as often as its id is found"
    back = find_list(tmp_path / "kept.npy")
    for decided in release.decided():
        table = release.read_decisions(decided.unit, ["uid", "verdict"])
        assert is_listed(table["uid"], back).tolist() == [verdict == "keep" for verdict in table["verdict"].to_pylist()]


def test_text(published, tmp_path):
    pool, release = published
    assert main(["--dataset", pool.store.root, "--release", release.name, "--column", "url", "--out", str(tmp_path / "kept.txt")]) == 0
    urls = (tmp_path / "kept.txt").read_text("utf-8").splitlines()
    assert len(urls) == 18 and urls == sorted(urls) and urls[0] == "http://host.test/0/0.jpg"


def test_pairs_that_are_listed_now_are_left_out_and_counted(published, tmp_path, monkeypatch, capsys):
    pool, release = published
    lists = write_lists(tmp_path / "lists", {"urls": ["host.test/0/0.jpg", "host.test/0/7.jpg"], "url_md5": ["0" * 32]})
    monkeypatch.setenv(ENVIRONMENT, str(lists))
    [listed] = [uid_of(url="http://host.test/0/0.jpg", sha256=None, caption="그림 number 0 of 0")]
    assert main(["--dataset", pool.store.root, "--out", str(tmp_path / "kept.txt")]) == 0
    assert (tmp_path / "kept.txt").read_text("utf-8").split() == sorted(set(kept_uids(release)) - {listed})
    told = capsys.readouterr().out
    assert "of 17 pairs that release one kept" in told and told.endswith("1 more that it kept is on a block list now, and left out\n")
    assert listed not in told and "host.test" not in told


def test_mistakes(published, tmp_path):
    pool, _ = published
    base = ["--dataset", pool.store.root, "--out", str(tmp_path / "o.npy"), "--column"]
    with pytest.raises(UsageError, match=r"no column 'uidd'; columns of text: .*uid"):
        main([*base, "uidd"])
    with pytest.raises(UsageError, match="have no source_id"):
        main([*base, "source_id"])
    with pytest.raises(UsageError, match="width is int32"):
        main([*base, "width"])
    with pytest.raises(ListError, match="is no id of 32 hex digits"):
        main([*base, "url"])
    with pytest.raises(UsageError, match="no published release"):
        main(["--dataset", str(tmp_path / "none"), "--out", "x.npy"])
    assert not (tmp_path / "o.npy").exists()
    for name in ("o.npy", "o.txt"):
        with pytest.raises(UsageError, match=f"none/{name}: No such file or directory"):
            main(["--dataset", pool.store.root, "--out", str(tmp_path / "none" / name)])
