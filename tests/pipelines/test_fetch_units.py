"""The transform on Beam's in-process runner, and the small web through it."""

import csv

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.steps.fetch_units import FetchUnits, Spread, dealt
from quality.urls import BadUrl, url_of
from schemas.pool import Pool
from schemas.reasons import error_word
from schemas.units import PoolError, unit_name
from tests.pipelines.fetching import UNIT, Reply, Rows, Server, image_of, jpeg, of_urls, settings


@pytest.fixture
def pool(tmp_path):
    return Pool(tmp_path / "data")


def run(pool: Pool, rows: Rows, units: list[str], expected: list[str], *, workers: int | None = 2, mode="in_memory", **changes) -> None:
    options = PipelineOptions(direct_num_workers=2, direct_running_mode=mode)
    with beam.Pipeline(FnApiRunner(), options=options) as pipeline:
        done = pipeline | beam.Create(units) | FetchUnits(pool, rows, settings(**changes), workers=workers)
        assert_that(done, equal_to(expected))
    assert options.view_as(DirectOptions).direct_running_mode == mode


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_units_are_committed_once_and_adopted_afterwards(pool, mode):
    with Server(lambda path: Reply(body=jpeg(int(path[1:])))) as server:
        units = {unit_name("ab" * 8, chunk): of_urls([server.url(f"/{chunk * 10 + row}") for row in range(10)]) for chunk in range(7)}
        rows, names = Rows(units), list(units)
        run(pool, rows, names, names, mode=mode, units_ahead=2)
        assert len(server.log) == 70
        run(pool, rows, names, names, mode=mode, workers=None)
        assert len(server.log) == 70, "nothing is fetched twice"
        for chunk, unit in enumerate(names):
            assert [image_of(pool, row, unit) for row in pool.read_raw(unit).to_pylist()] == [jpeg(chunk * 10 + row) for row in range(10)]


def test_a_deferred_unit_is_left_out_and_the_others_go_on(pool):
    with Server(lambda path: Reply(told=10, hang=True)) as silent, Server(lambda path: Reply(body=jpeg())) as server:
        other = UNIT[:-1] + "1"
        rows = Rows({UNIT: of_urls([silent.url(f"/{row}") for row in range(30)]), other: of_urls([server.url("/a")])})
        run(pool, rows, [UNIT, other], [other], image_timeout_s=30.0, unit_timeout_s=1.0)
        assert set(pool.deferred()) == {UNIT} and pool.committed() == {other}


def test_another_input_is_an_error(pool):
    with Server({"/a": Reply(body=jpeg())}) as server:
        rows = Rows({UNIT: of_urls([server.url("/a")])})
        run(pool, rows, [UNIT], [UNIT])
        changed = Rows(rows.units)
        changed.input_digest = str.upper
        with pytest.raises((PoolError, RuntimeError), match="another input"):
            run(pool, changed, [UNIT], [UNIT])


def test_units_are_dealt_out_in_turn():
    units = [unit_name("ab" * 8, chunk) for chunk in range(6)]
    keys = [dealt(unit, workers=3)[0] for unit in units]
    assert sorted(keys[:3]) == [0, 1, 2] and keys[:3] == keys[3:]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create(units) | Spread(3), equal_to(units))


def test_wrong_arguments_are_refused_when_the_graph_is_made(pool, tmp_path):
    with pytest.raises(ValueError, match="workers"):
        FetchUnits(pool, Rows({}), settings(), workers=0)
    with pytest.raises(ValueError, match="host map"):
        FetchUnits(pool, Rows({}), settings(host_map=str(tmp_path / "none.json")))


@pytest.mark.parametrize("fetcher", ["pigment", "img2dataset"])
def test_the_small_web_is_noted_as_its_table_says(pool, small_web, fetcher):
    """By both fetchers every planned fault is found again under its own words; bad rows are marked as a source's reader would."""
    if fetcher == "img2dataset":
        pytest.importorskip("img2dataset", reason="needs the extra img2dataset")
    small_web.reset()
    with small_web.pairs_csv.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    given = []
    for row, pair in zip(small_web.table, listed, strict=True):
        source = {"url": pair["url"], "caption": pair["caption"], "source_id": pair["source_id"]}
        if row.status == "invalid":
            source |= {"status": "invalid", "error_message": row.error}
            if row.error == "bad_url":
                with pytest.raises(BadUrl):
                    url_of(pair["url"])
        given.append(source)
    changes = {"allow_private_hosts": False, "host_map": str(small_web.host_map), "image_timeout_s": 4.0, "unit_timeout_s": 60.0}
    run(pool, Rows({UNIT: given}), [UNIT], [UNIT], connect_timeout_s=2.0, fetcher=fetcher, **changes)
    found = pool.read_raw(UNIT).to_pylist()
    noted = [(raw["status"], error_word(raw["error_message"]), raw["sha256"] if raw["status"] == "success" else None) for raw in found]
    planned = [(row.status, row.error, row.sha256) for row in small_web.table]
    differing = [(row.fault, was, plan) for row, was, plan in zip(small_web.table, noted, planned, strict=True) if was != plan]
    assert differing == []
