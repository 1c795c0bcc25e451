"""The cost model: arithmetic on known inputs, more pairs never cost less, what is not priced says so, and the page's tables are the command's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import constants
from infra.constants import COMPARISONS_S, HASH_ROW_BYTES, IMAGES_S, PAIRS_A_COMPARISON, batches
from infra.cost import Job, estimate
from infra.page import refreshed
from infra.sizing import PRICES, main, parser, read_prices
from pipelines import flags
from pipelines.steps import near_pairs, select_pairs, shuffling, write_shards

ROOT = Path(__file__).parents[2]


def of(job: Job, name: str, prices=None):
    return next(step for step in estimate(job, prices) if step.name == name)


def test_shares_multiply():
    job = Job(pairs=1_000_000, alive=0.5, passing=0.4, duplicates=0.25, unit=1_000)
    assert (job.living, job.kept, job.units) == (500_000, 150_000, 1_000)


def test_fetch_is_bound_by_connections_that_wait_where_cores_are_enough():
    step = of(Job(pairs=3_600_000, request_s=2.0, connections=50, cores=2, workers=4), "fetch")
    assert step.waits_h == 2_000 and step.wall_h == pytest.approx(2_000 / (50 * 2 * 4)) and step.limit == "the web"


def test_an_accelerator_scores_at_its_rate():
    step = of(Job(pairs=3_600_000, alive=1.0, model="vit-b-32", device="a100", workers=2, cores=1_000_000), "score")
    assert step.device_h == pytest.approx(1_000 / IMAGES_S["vit-b-32", "a100"]) and step.wall_h == pytest.approx(step.device_h / 2)
    assert step.limit == "a100"


@pytest.mark.parametrize("mode", ["fast", "complete"])
def test_near_duplicates_grow_with_the_square(mode):
    one, two = (of(Job(pairs=pairs, alive=1, passing=1, duplicates=0, near=mode), "near") for pairs in (1e6, 2e6))
    assert one.core_h == pytest.approx(1e12 / PAIRS_A_COMPARISON[mode] / COMPARISONS_S / 3600)
    assert two.core_h == pytest.approx(4 * one.core_h) and one.shuffled == 0 and one.limit == "one worker"
    beyond = of(Job(pairs=1e8, alive=1, passing=1, duplicates=0, near=mode), "near")
    assert beyond.shuffled > 1e8 * {"fast": 16, "complete": 144}[mode] * HASH_ROW_BYTES


def test_small_batches_are_counted():
    assert batches(1_000_000, 100_000, 10) == 100
    assert batches(1_000_000, 100_000, 200_000) == 1_000_000  # a row each


def test_shard_opens_every_unit_for_each_lot_of_pairs():
    step = of(Job(pairs=1e7, alive=1, passing=1, duplicates=0), "shard")
    lots, units = 1e7 / constants.MEMBERS_AHEAD, 1e7 / 10_000
    opened = units * (constants.OPENS_A_UNIT["shard"] + lots * constants.OPENS_A_LOT)
    assert (
        step.reads == pytest.approx(constants.OPEN * opened + 1e7) and step.writes == constants.WRITES_A_SHARD * 1e7 / constants.SHARD_PAIRS
    )


@pytest.mark.parametrize("near", ["off", "fast", "complete"])
def test_more_pairs_never_take_less(near):
    last = None
    for pairs in (1, 1e3, 1e5, 1e6, 1.9e7, 2.1e7, 1e8, 1e9, 5e9):
        steps = estimate(Job(pairs=pairs, runner="dataflow", near=near, train_rate=4.0), read_prices(PRICES))
        now = [
            sum(getattr(step, name) for step in steps) for name in ("core_h", "wall_h", "stored", "moved", "shuffled", "writes", "reads")
        ]
        now.append(sum(amount or 0 for step in steps for amount in step.money.values()))
        assert last is None or all(after >= before for before, after in zip(last, now, strict=True)), pairs
        last = now


def test_money_is_hours_times_prices_and_what_has_no_price_is_not_zero():
    prices = {"dataflow": {"core_hour": 2.0, "memory_gb_hour": 0.5}, "store": {"stored_gb_month": 1.0, "write": 0.0, "read_request": 0.0}}
    step = of(Job(pairs=1e9, runner="dataflow", workers=10, cores=4, memory_gb=8), "select", prices)
    assert step.money["workers"] == pytest.approx(step.wall_h * 10 * (4 * 2.0 + 8 * 0.5))
    assert step.money["store"] == pytest.approx(step.stored / 1e9) and step.money["shuffle"] is None


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--pairs", "0"], "--pairs is 0; it must be above 0"),
        (["--pairs", "1e6", "--alive", "1.5"], "--alive is 1.5; it is a share, from 0 to 1"),
        (["--pairs", "1e6", "--model", "vit-l-14", "--device", "t4"], "no rate is known of vit-l-14 on t4; known: vit-b-32 on a100"),
        (["--pairs", "1e6", "--device", "t4"], "the embedded models run on cpu, not on t4"),
        (["--pairs", "1e6", "--prices", "none.toml"], "--prices none.toml: No such file or directory; begin with a copy of"),
    ],
)
def test_what_cannot_be_says_why(capsys, flags, told):
    assert main(flags) == 2
    assert told in capsys.readouterr().err


def test_a_price_that_is_none_is_refused(tmp_path, capsys):
    path = tmp_path / "prices.toml"
    path.write_text('[dataflow]\ncore_hour = "0.05"\n')
    assert main(["--pairs", "1e6", "--prices", str(path)]) == 2
    assert "[dataflow] core_hour = '0.05' is no price" in capsys.readouterr().err


def test_help_has_every_knob_with_its_default():
    text = " ".join(parser().format_help().split())
    for flag in ("--pairs", "--runner", "--image_bytes", "--alive", "--model", "--near", "--prices", "--json", "examples:"):
        assert flag in text
    assert "(default: 75000)" in text


def test_json_is_the_same_estimate(capsys):
    assert main(["--pairs", "1e6", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["job"]["pairs"] == 1e6
    assert [step["name"] for step in told["steps"]] == ["fetch", "score", "select", "near", "shard", "publish"]
    assert told["steps"][0]["core_h"] == of(Job(pairs=1e6), "fetch").core_h


def test_the_command_runs_by_itself():
    run = subprocess.run(
        [sys.executable, "-m", "infra.sizing", "--pairs", "5e9", "--runner", "dataflow"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("5,000,000,000 pairs on dataflow, 1 worker of 2 cores: 3,000,000,000 living")


def test_the_tables_of_the_page_are_what_the_commands_print():
    page = (ROOT / "infra" / "SIZING.md").read_text()
    assert page.count("$ python -m infra.") >= 6
    assert refreshed(page) == page, "python -m infra.page infra/SIZING.md"


def test_an_old_table_would_be_seen():
    assert (
        refreshed("```text\n$ python -m infra.sizing --pairs 1e6\nold\n```\n")
        != "```text\n$ python -m infra.sizing --pairs 1e6\nold\n```\n"
    )


def test_the_model_says_what_was_measured():
    """Of runs of 10,000 pairs and more, within the factor that SIZING.md states; between the runs it is fitted on, too."""
    from infra.measured import modelled

    for pairs, run in constants.runs("growth").items():
        said, took = sum(modelled(run).values()), sum(step["cpu_s"] for step in run["steps"].values())
        assert pairs < 10_000 or 1 / 1.5 < said / took < 1.5, pairs


def test_the_model_counts_with_the_jobs_own_numbers():
    assert constants.IN_MEMORY_ROWS == near_pairs.NearLosers.IN_MEMORY_ROWS
    assert constants.GATHERED_ROWS == shuffling._GATHERED_ROWS == write_shards._GATHERED_ROWS
    assert (constants.NEAR_GATHERED_ROWS, constants.NEAR_PARTITION_ROWS) == (near_pairs._GATHERED_ROWS, near_pairs._ROWS_A_PARTITION)
    assert (constants.PARTITION_ROWS, constants.MEMBERS_AHEAD) == (select_pairs._ROWS_A_PARTITION, write_shards._MEMBERS_AHEAD)
    assert flags.parser().get_default("shard_count") == constants.SHARD_PAIRS


@pytest.mark.parametrize("knob", ["pairs", "unit", "image_bytes"])
def test_what_is_no_number_is_refused(knob):
    command = [sys.executable, "-m", "infra.sizing", "--pairs", "1e6", f"--{knob}", "inf"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and f"--{knob}" in done.stderr and "inf" in done.stderr and "Traceback" not in done.stderr
