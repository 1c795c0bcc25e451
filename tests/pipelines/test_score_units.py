"""ScoreUnits end to end: a real pool, real models, Beam's in-process runner."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import torch
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.steps.loaded_scorers import LoadedScorers, ScorerBug
from pipelines.steps.score_units import ScoreUnits, score_unit
from quality.scorers import make_scorers
from quality.scorers.image import Image
from quality.scorers.protocol import info_of
from schemas.captions import CAPTIONS, CaptionVersion
from schemas.columns import field, range_of
from schemas.digest import digest_of_table
from schemas.pool import Pool
from schemas.units import Pass, PoolError
from tests.scoring import cache_folder, drawn_pairs, put_unit, sample_pairs, tiny_clip

torch.set_num_threads(1)
UNITS = ["0123456789abcdef-00000", "0123456789abcdef-00001"]


class Length:
    """A user's scorer: the caption's length."""

    name, version, needs = "length", "1", ()
    fields = pa.schema([field("characters", pa.int32(), meaning="of the caption", range=(0, None))])

    def load(self):
        pass

    def score(self, batch):
        return pa.record_batch([pa.array([None if c is None else len(c) for c in batch.captions], pa.int32())], schema=self.fields)


class Doubled(Length):
    """Reads another scorer's column."""

    name, needs = "doubled", ("length.characters",)

    def score(self, batch):
        return pa.record_batch(
            [pa.array([None if n is None else 2 * n for n in batch.column("length.characters").to_pylist()], pa.int32())],
            schema=self.fields,
        )


class Raises(Length):
    def score(self, batch):
        raise ZeroDivisionError("oh")


class TooShort(Length):
    def score(self, batch):
        return super().score(batch).slice(1)


def pass_of(scorers):
    return Pass.of([info_of(scorer) for scorer in scorers])


def run(pool, scorers, units=UNITS):
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = pipeline | beam.Create(units) | ScoreUnits(pool, scorers, pass_of(scorers), threads=2)
        assert_that(found, equal_to(units))
    return pass_of(scorers).name


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def scorers(model):
    return make_scorers(model=model, cache=cache_folder(), engines={"embed.image": "openvino-f32", "nsfw.image": "openvino-f32"})


@pytest.fixture
def pool(tmp_path):
    return fill(Pool(tmp_path / "dataset"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory, scorers):
    pool = fill(Pool(tmp_path_factory.mktemp("scored")))
    return pool, run(pool, scorers)


def fill(pool):
    drawn = drawn_pairs(".jpg")
    put_unit(
        pool,
        UNITS[0],
        [
            *sample_pairs(20),
            *[("failed", None)] * 31,
            ("junk", b"<html>"),
            ("cut", drawn[0][1][:900]),
            (None, drawn[1][1]),
            *drawn[:8],
            *[("failed", None)] * 8,
        ],
    )
    put_unit(pool, UNITS[1], drawn[:3])
    return pool


def test_end_to_end(scored, scorers):
    pool, name = scored
    table = pool.read_scores(name, UNITS[0])
    assert table.column_names == [column for scorer in scorers for column in info_of(scorer).columns]
    assert table.num_rows == 70
    rows = table.to_pylist()
    failed, junk, cut, untold = rows[50:54]
    assert set(failed.values()) == {None}
    assert junk["image.error"].startswith("not_image") and cut["image.error"].startswith("undecodable")
    for row in (junk, cut):
        assert row["embed.image"] is row["clip.similarity"] is row["nsfw.open_nsfw"] is row["image.pdq"] is None
        assert row["embed.text"] is not None
    assert untold["clip.similarity"] is None and untold["nsfw.open_nsfw"] is not None
    for row in [*rows[:20], *rows[54:62]]:
        assert None not in (row["clip.similarity"], row["nsfw.open_nsfw"], row["image.pdq"]) and row["image.error"] is None
        assert row["clip.similarity"] == pytest.approx(np.dot(row["embed.image"], row["embed.text"]), abs=2e-3)
    assert pool.score_commit(name, UNITS[0]).input_digest == pool.raw_commit(UNITS[0]).content_digest
    assert pool.score_schema(name, UNITS[0]).field("clip.similarity").metadata[b"better"] == b"higher"


def test_scores_that_stand_are_adopted(pool):
    scorers = [Length()]
    name = run(pool, scorers)
    before = pool.store.read(f"pool/scores/{name}/{UNITS[0]}.parquet")
    assert run(pool, [type("Other", (Raises,), {})()], units=UNITS) == name
    assert pool.store.read(f"pool/scores/{name}/{UNITS[0]}.parquet") == before


def test_row_i_belongs_to_row_i(scored, scorers, tmp_path):
    """Each row's values equal those it gets in a unit of its own, up to rounding."""
    pool = Pool(tmp_path)
    pairs = drawn_pairs(".jpg")
    alone = [f"{7:016x}-{row:05d}" for row in range(3)]
    for row, unit in enumerate(alone):
        put_unit(pool, unit, [pairs[row]])
    name = run(pool, scorers, units=alone)
    together = scored[0].read_scores(name, UNITS[1]).to_pylist()
    for row, unit in enumerate(alone):
        (single,) = pool.read_scores(name, unit).to_pylist()
        assert {k: v for k, v in single.items() if k.startswith("image.")} == {
            k: v for k, v in together[row].items() if k.startswith("image.")
        }
        for column in ("clip.similarity", "nsfw.open_nsfw"):
            assert single[column] == pytest.approx(together[row][column], abs=2e-4)
        assert np.allclose(single["embed.image"], together[row]["embed.image"], atol=2e-3)


def score_and_digest(root, model):
    scorers = make_scorers(model=model, cache=cache_folder(), engines={"embed.image": "openvino-f32", "nsfw.image": "openvino-f32"})
    with ThreadPoolExecutor(1) as executor:
        return digest_of_table(score_unit(Pool(root), UNITS[0], LoadedScorers(scorers), executor=executor))


def test_same_bits_in_another_process(scored, model):
    pool, name = scored
    code = f"from tests.pipelines.test_score_units import score_and_digest; print(score_and_digest({pool.store.root!r}, {model!r}))"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "2"}
    )
    assert there.stdout.strip() == pool.score_commit(name, UNITS[0]).content_digest


def test_needs_come_first_and_from_other_passes(pool):
    together = run(pool, [Doubled(), Length()])
    assert pool.read_scores(together, UNITS[1], ["doubled.characters", "length.characters"]).to_pylist()[0] == {
        "doubled.characters": 2 * len(drawn_pairs()[0][0]),
        "length.characters": len(drawn_pairs()[0][0]),
    }
    with pytest.raises(ValueError, match=r"scorer doubled needs length\.characters"):
        ScoreUnits(pool, [Doubled()], pass_of([Doubled()]), threads=1)
    pool.put_pass(pass_of([Length()]))
    run(pool, [Length()])
    later = run(pool, [Doubled()])
    assert later != together
    assert (
        pool.read_scores(later, UNITS[1]).column(0).to_pylist()
        == pool.read_scores(together, UNITS[1]).column("doubled.characters").to_pylist()
    )


def test_a_needed_column_of_two_passes_is_refused(pool):
    for scorers in ([Length()], [Length(), Image()]):
        pool.put_pass(pass_of(scorers))
    with pytest.raises(
        PoolError, match=r"column length\.characters is in the passes length\+image-\w+, length-\w+; run its scorer together"
    ):
        ScoreUnits(pool, [Doubled()], pass_of([Doubled()]), threads=1)


@pytest.mark.parametrize(("scorer", "message"), [(Raises(), "ZeroDivisionError: oh"), (TooShort(), "returned 63 rows")])
def test_a_scorer_that_is_wrong_stops_the_job(pool, scorer, message):
    with pytest.raises(ScorerBug, match=rf"scorer length \(1\) .*at unit {UNITS[0]}, rows 0 to 63.*{message}"):
        run(pool, [scorer])
    assert pool.scored(pass_of([scorer]).name) == set()


def test_a_pass_of_other_scorers_is_refused(pool):
    with pytest.raises(ValueError, match="is not of the scorers image"):
        ScoreUnits(pool, [Image()], pass_of([Length()]), threads=1)


def test_every_field_is_documented(scorers):
    for scorer in scorers:
        assert scorer.version.count(";") >= 2 and "@" in scorer.version
        for declared in scorer.fields:
            assert declared.metadata[b"meaning"], declared
            if pa.types.is_integer(declared.type) or pa.types.is_floating(declared.type):
                low, high = range_of(declared)
                assert low is not None or high is not None
                neither = scorer.name in ("faces", "evidence") or declared.name in ("width", "height")
                assert neither or declared.metadata.get(b"better") in (b"higher", b"lower")
    assert [info_of(scorer).calibration for scorer in scorers] == [
        "embed:tiny", "clip:tiny", "nsfw:open-nsfw", "image:pixels", "faces:blazeface-short", "evidence:metadata", "deepfake:evidence-sum",
    ]  # fmt: skip


def test_a_unit_of_failed_rows(pool):
    unit = f"{9:016x}-00000"
    put_unit(pool, unit, [("a", None), ("b", None)])
    scorers = [Image(), Length()]
    table = pool.read_scores(run(pool, scorers, units=[unit]), unit)
    assert table.column("image.pdq").null_count == 2 and table.column("length.characters").to_pylist() == [1, 1]


def test_score_files_are_the_same_bytes_each_time(tmp_path):
    digests = set()
    for attempt in range(2):
        pool = Pool(tmp_path / str(attempt))
        put_unit(pool, UNITS[1], drawn_pairs())
        name = run(pool, [Image()], units=UNITS[1:])
        digests.add(hashlib.sha256(pool.store.read(f"pool/scores/{name}/{UNITS[1]}.parquet")).hexdigest())
    assert len(digests) == 1


def test_a_version_of_the_captions_is_embedded_without_looking_at_images_again(tmp_path):
    pool = Pool(tmp_path / "data")
    pairs = drawn_pairs()
    put_unit(pool, UNITS[0], [*pairs, ("no picture", None)])
    scorers = make_scorers(["embed", "clip"], model=tiny_clip(tmp_path / "tiny"), cache=cache_folder())
    first = pass_of(scorers)
    pool.put_pass(first)

    def score(made, pass_):
        with beam.Pipeline(runner=FnApiRunner()) as pipeline:
            _ = pipeline | beam.Create([UNITS[0]]) | ScoreUnits(pool, made, pass_, threads=1)
        return pool.read_scores(pass_.name, UNITS[0])

    before = score(scorers, first)
    version, raw = CaptionVersion(pool, "other"), pool.raw_commit(UNITS[0])
    told = [pairs[3][0]] * 3 + [None] + [caption for caption, _ in pairs[4:]] + ["no picture"]
    version.adopt({"files": []})
    version.commit(raw, pa.table([pool.read_raw(UNITS[0], ["uid"])["uid"], pa.array(told)], schema=CAPTIONS))
    scorers = make_scorers(["embed", "clip"], model=scorers[0].source.model, cache=cache_folder())
    scorers[0]._images = None  # would raise
    other = Pass.of([info_of(scorer) for scorer in scorers], "other")
    assert other.name != first.name and Pass.of(other.scorers).name == first.name
    pool.put_pass(other)
    assert [pass_.captions for pass_ in pool.passes()] in ([None, "other"], ["other", None])
    after = score(scorers, other)
    assert after["embed.image"].equals(before["embed.image"])
    texts, old = after["embed.text"].to_pylist(), before["embed.text"].to_pylist()
    assert texts[0] == texts[1] == texts[2] and texts[3] is None and texts[4:] == old[4:]
    similarities = after["clip.similarity"].to_pylist()
    assert similarities[3] is None and similarities[4:] == before["clip.similarity"].to_pylist()[4:]
