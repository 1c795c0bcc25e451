"""Training data from a real release: what may be opened, what a batch holds, and that a stop changes nothing."""

import io
import itertools
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.publish import publish
from schemas.pool import Pool
from schemas.release import Release, ReleaseError
from tests.releases import make_release
from tests.remote import served
from tests.stores import remote, uploaded
from training.releases import open_release
from training.shards import Batch, Loader, webdataset_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 kept pairs in three shards, published; nothing is known of their licences."""
    pool, release = make_release(tmp_path_factory.mktemp("release"))
    publish(pool, release)
    return Path(pool.store.root)


def take(loader: Loader, count: int) -> list[Batch]:
    return list(itertools.islice(loader, count))


def same(one: Batch, other: Batch) -> bool:
    return (one.epoch, one.step, one.uids, one.captions, one.cuts) == (
        other.epoch,
        other.step,
        other.uids,
        other.captions,
        other.cuts,
    ) and bool((one.images == other.images).all())


def in_tars(dataset: Path) -> dict[str, tuple[bytes, str]]:
    """Image and caption of every sample by uid, by tarfile."""
    found: dict[str, dict[str, bytes]] = {}
    for path in dataset.glob("releases/*/shards/*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                uid, _, suffix = member.name.partition(".")
                found.setdefault(uid, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return {uid: (members["jpg"], members["txt"].decode()) for uid, members in found.items()}


# ---- what may be opened


@contextmanager
def behind(kind: str, dataset: Path) -> Iterator[str]:
    """The URL of the dataset on a server of a kind."""
    if kind == "http":
        with served(dataset) as url:
            yield url
    else:
        with remote(kind) as running:
            yield uploaded(dataset, f"{running.url}/sets/one")


@pytest.mark.parametrize("kind", ["s3", "gs", "http"])
def test_a_release_behind_a_url_gives_the_same_batches(dataset, kind):
    with behind(kind, dataset) as url:
        for path in (url, f"{url}/releases/one"):
            far, near = (open_release(place, licenses=None, optouts=False) for place in (path, dataset))
            batches = [take(Loader(training, size=16, batch=4, seed=3), 6) for training in (far, near)]
            assert all(map(same, *batches))
        with pytest.raises(ReleaseError, match="no published release here"):
            open_release(f"{url}/elsewhere")


def test_a_dataset_and_a_release_of_it_are_opened(dataset):
    by_dataset, by_release = (open_release(path, licenses=None, optouts=False) for path in (dataset, dataset / "releases" / "one"))
    assert len(by_dataset.samples) == len(by_release.samples) == 18
    assert by_dataset.manifest["counts"]["keep"] == 18
    assert {by_dataset.samples.uid_of(sample) for sample in range(18)} == set(in_tars(dataset))


def test_a_release_without_manifest_is_refused(tmp_path):
    pool, _ = make_release(tmp_path)
    with pytest.raises(ReleaseError, match=r"has no manifest.*pipelines\.publish --dataset"):
        open_release(Path(pool.store.root) / "releases" / "one")
    with pytest.raises(ReleaseError, match="no published release here"):
        open_release(pool.store.root)


def test_unknown_licences_are_refused_and_the_way_round_is_told(dataset):
    with pytest.raises(ReleaseError, match=r"18 unknown; .*licenses=\('public-domain', 'attribution', 'share-alike', 'unknown'\)"):
        open_release(dataset)
    with pytest.raises(ReleaseError, match=r"no column evidence\.mining, so nobody has measured .*optouts=False"):
        open_release(dataset, licenses=("unknown",))
    assert len(open_release(dataset, licenses=("unknown",), optouts=False).samples) == 18


def test_files_that_forbid_mining_are_refused(tmp_path, monkeypatch):
    pool, release = make_release(tmp_path)
    publish(pool, release)
    import pyarrow as pa

    read, schema = Release.read_index, Release.index_schema

    def with_mining(self, shard, columns=None):
        table = read(self, shard)
        mining = pa.array(["disallowed" if row == 0 else None for row in range(table.num_rows)], pa.string())
        return table.append_column("evidence.mining", mining).select(columns)

    monkeypatch.setattr(Release, "read_index", with_mining)
    monkeypatch.setattr(Release, "index_schema", lambda self, shard: schema(self, shard).append(pa.field("evidence.mining", pa.string())))
    with pytest.raises(ReleaseError, match=r"3 of its files forbid mining.*optouts=False"):
        open_release(pool.store.root, licenses=None)
    assert len(open_release(pool.store.root, licenses=None, optouts=False).samples) == 18


def test_a_column_of_weights_is_read(dataset):
    training = open_release(dataset, licenses=None, optouts=False, weight="clip.similarity")
    stored = {row["uid"]: row["clip.similarity"] for shard in range(3) for row in training.release.read_index(shard).to_pylist()}
    assert training.samples.weights is not None
    assert {training.samples.uid_of(sample): weight for sample, weight in enumerate(training.samples.weights.tolist())} == stored
    with pytest.raises(ReleaseError, match=r"no column 'clip.similarty' .*clip.similarity"):
        open_release(dataset, licenses=None, optouts=False, weight="clip.similarty")


# ---- batches


def test_a_batch_holds_the_shards_images_and_captions(dataset):
    loader = Loader(open_release(dataset, licenses=None, optouts=False), size=16, batch=6, largest_aspect=1.0)
    stored = in_tars(dataset)
    batches = take(loader, 3)
    assert sorted(uid for batch in batches for uid in batch.uids) == sorted(stored)
    for batch in batches:
        assert batch.images.shape == (6, 3, 16, 16)
        for image, uid, caption in zip(batch.images, batch.uids, batch.captions, strict=True):
            data, text = stored[uid]
            assert caption == text
            whole = Image.open(io.BytesIO(data))
            wanted = whole.resize((21, 16), Image.Resampling.BOX).crop((2, 0, 18, 16))  # 64 x 48, covering 16 x 16
            assert abs(image.numpy().transpose(1, 2, 0).astype(int) - np.asarray(wanted, int)).mean() < 8


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [0, 5])
def test_a_stop_at_any_step_changes_nothing(dataset, threads, ahead):
    def loader(**more) -> Loader:
        return Loader(open_release(dataset, licenses=None, optouts=False), size=16, batch=4, seed=3, jitter=True, **more)

    whole = take(loader(), 11)
    for stop in range(10):
        first = loader(threads=threads, ahead=ahead)
        taken = take(first, stop)
        second = loader(threads=3 - threads + 1, ahead=2)
        second.restore(first.state())
        rest = take(second, 11 - stop)
        assert all(same(one, other) for one, other in zip([*taken, *rest], whole, strict=True))


def test_ranks_have_disjoint_samples_and_together_the_whole_batch(dataset):
    training = open_release(dataset, licenses=None, optouts=False)
    alone = take(Loader(training, size=16, batch=6, seed=1), 6)
    ranks = [take(Loader(training, size=16, batch=3, seed=1, rank=rank, ranks=2), 6) for rank in range(2)]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert [*first.uids, *second.uids] == list(whole.uids)
        assert first.images.shape[2:] == second.images.shape[2:]


def test_the_window_moves_from_epoch_to_epoch_only_with_jitter(dataset):
    training = open_release(dataset, licenses=None, optouts=False)

    def lefts(jitter: bool) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for batch in take(Loader(training, size=16, batch=6, jitter=jitter, largest_aspect=1.0), 12):
            for uid, cut in zip(batch.uids, batch.cuts, strict=True):
                found.setdefault(uid, set()).add(cut.left)
        return found

    assert all(len(seen) == 1 for seen in lefts(False).values())
    assert sum(len(seen) > 1 for seen in lefts(True).values()) > 9


def test_a_damaged_shard_is_told(dataset, tmp_path):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    for tar in copy.glob("releases/one/shards/*.tar"):
        tar.write_bytes(b"\0" * tar.stat().st_size)
    with pytest.raises(ReleaseError, match=r"000\d\d\d\.tar: the image of [0-9a-f]{32} cannot be decoded"):
        take(Loader(open_release(copy, licenses=None, optouts=False), size=16, batch=6), 1)
    for tar in copy.glob("releases/one/shards/*.tar"):
        tar.write_bytes(b"")
    with pytest.raises(ReleaseError, match="it was cut; restore it"):
        take(Loader(open_release(copy, licenses=None, optouts=False), size=16, batch=6), 1)


def test_plain_webdataset_reads_the_same_pairs(dataset):
    rows = list(webdataset_of(open_release(dataset, licenses=None, optouts=False)))
    assert {row["__key__"]: row["txt"] for row in rows} == {uid: text for uid, (_, text) in in_tars(dataset).items()}
    assert all(row["image"].size == (64, 48) for row in rows)


def test_the_manifest_counts_licence_classes(dataset):
    assert Release(Pool(dataset).store, "one").manifest()["licenses"] == {"unknown": 18}
