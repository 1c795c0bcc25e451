"""What the cost model counts with: measured here, by a bench that is named, or cited.

Measured times are core-seconds of the bench's machine, from the JSON files that the benches write beside this one; measuring again changes the
model.
"""

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
START_UP_PAIRS: Final = 100  # of the runs whose time counts as start-up (tests/bench/growth.py)

# Images a second of one accelerator, and of one core. 1,800 and 312: LAION's figures for an A100; 78: Fondant's for a T4; 30 to 58 a core with AMX
# in bf16: measured on two cores (REFERENCES, "Figures to beat"). The embedded model on a core is in the measured time of a score.
IMAGES_S: Final = {
    ("vit-b-32", "a100"): 1800.0,
    ("vit-l-14", "a100"): 312.0,
    ("vit-b-32", "t4"): 78.0,
    ("vit-b-32", "cpu"): 30.0,
}
MODELS: Final = ("embedded", "vit-b-32", "vit-l-14")

# Near-duplicates, by counting (REFERENCES, "Near-duplicate arithmetic"; quality/near/shuffle.py). Comparisons of random hashes: N * N over this.
PAIRS_A_COMPARISON: Final = {"complete": 482, "fast": 8192}  # fast: 16 bands of 65,536 values, each pair once
ROWS_A_HASH: Final = {"complete": 144, "fast": 16}  # of the shuffle
COMPARISONS_S: Final = 2.5e9  # a core, with AVX-512
ROW_S: Final = (
    2 * 190e-9
)  # core-seconds of a row of the shuffle: 190 ns to cut it (band rows, take, cut; two runs), as much assumed to group it
IN_MEMORY_ROWS: Final = 20_000_000  # to so many one worker searches alone, without a shuffle (NearLosers)

# The shuffle's bytes, by batch_to_bytes of batches of 1 to 100,000 rows: 13 and 41 bytes a row where batches are large, and these for each batch.
FINGERPRINT_BYTES: Final = 13
HASH_ROW_BYTES: Final = 41
BATCH_BYTES: Final = 1_080
FINGERPRINTS_A_ROW: Final = 3  # pair, bytes, picture
CANDIDATE_BYTES: Final = 400  # of a row that met an equal one: identity, rank, thumbnail
GATHERED_ROWS: Final = 200_000  # before fingerprints are cut by partition (pipelines/steps/shuffling.py)
PARTITION_ROWS: Final = 2_000_000  # three fingerprints a row (pipelines/steps/select_pairs.py)
NEAR_PARTITION_ROWS: Final = 4_000_000  # and this of the near search (pipelines/steps/near_pairs.py)
NEAR_GATHERED_ROWS: Final = 720_000

MEMBERS_AHEAD: Final = (
    100_000  # pairs of shards that one worker looks up together: it opens every unit for them (pipelines/steps/write_shards.py)
)
SHARD_PAIRS: Final = 10_000

# Requests to the store (tests/bench/store_requests.py). A Parquet file opened counts as OPEN requests: its size, its footer, its columns (assumed).
OPEN: Final = 3
WRITES_A_UNIT: Final = {"fetch": 4, "score": 2, "select": 1, "shard": 0, "publish": 0}
WRITES_A_SHARD: Final = 2
OPENS_A_UNIT: Final = {"fetch": 5, "score": 6, "select": 17, "shard": 12, "publish": 22}  # small objects read whole among them
OPENS_A_LOT: Final = 4  # of shard: of each unit, for each MEMBERS_AHEAD pairs

# Bytes stored a pair beside what growth.json says of raw, requests and scores.
DECISION_BYTES: Final = 60  # of a growth run's decisions
JSON_BYTES: Final = 1_500  # of a shard's .json and .txt members, tar headers included
SHARD_IMAGE_BYTES: Final = 60_000  # JPEG of 512 pixels, quality 95


@cache
def runs(name: str) -> Mapping[int, Mapping[str, Any]]:
    """The runs of a bench by number of pairs or rows: of growth.json, photos.json or select.json."""
    found = json.loads((HERE / f"{name}.json").read_text())["runs"]
    return {run.get("pairs", run.get("rows")): run for run in found}


def core_seconds(step: str, image_bytes: float) -> float:
    """Of a step a pair (of shard: a kept pair), between what small pictures and photographs took, by their bytes; beyond, on the same line.

    Of score: small ones by the scorer `image` alone, photographs by all scorers with the embedded models. Of shard: small ones are copied,
    photographs converted to 512 pixels; opening units again is apart (row_read_seconds).
    """
    (low, small), (high, large) = (_a_pair(name, step) for name in ("growth", "photos"))
    return max(small, small + max(0.0, (large - small) / (high - low)) * (image_bytes - low))


def _a_pair(name: str, step: str) -> tuple[float, float]:
    """(bytes of a picture, core-seconds of a step a pair) of a bench's largest run, without start-up."""
    run = runs(name)[max(runs(name))]
    seconds = max(0.0, run["steps"][step]["cpu_s"] - runs(name)[START_UP_PAIRS]["steps"][step]["cpu_s"])
    if step == "shard":
        seconds = max(0.0, seconds - row_read_seconds() * (lots_of(run["kept"]) - 1) * run["pairs"])
    beyond = 1 - START_UP_PAIRS / run["pairs"]  # what start-up pairs took, started up apart, is not in `seconds`
    return run["picture_bytes"] / run["pairs"], seconds / (beyond * run["kept" if step == "shard" else "pairs"])


def lots_of(kept: float) -> float:
    """How often every unit is opened by shard."""
    return max(1.0, kept / MEMBERS_AHEAD)


def row_read_seconds() -> float:
    """Core-seconds of shard for each row of a unit that is opened again, for the next MEMBERS_AHEAD pairs: by what a pair of the largest growth run
    took more than one of the run a tenth as large."""
    known = runs("growth")
    many = max(known)
    few = min(known, key=lambda pairs: abs(pairs - many / 10))
    net = {pairs: (known[pairs]["steps"]["shard"]["cpu_s"] - start_up_seconds("shard")) / pairs for pairs in (few, many)}
    lots = {pairs: lots_of(known[pairs]["kept"]) for pairs in (few, many)}
    return max(0.0, (net[many] - net[few]) / max(1e-9, lots[many] - lots[few]))


def start_up_seconds(step: str) -> float:
    """CPU time of a command on START_UP_PAIRS small pairs."""
    return runs("growth")[START_UP_PAIRS]["steps"][step]["cpu_s"]


def memory_of_select(rows: float) -> float:
    """Bytes of all processes of the in-process runner, on the line through the two largest runs of select.json."""
    known = runs("select")
    few, many = sorted(known)[-2:]
    slope = (known[many]["peak_mb"] - known[few]["peak_mb"]) / (many - few)
    return 1e6 * (known[few]["peak_mb"] + slope * (rows - few))


def batches(rows: float, gathered: int, partitions: int) -> float:
    """How many batches a shuffle of `rows` has: each gathered lot is cut into all partitions."""
    lots = math.ceil(rows / gathered)
    return min(rows, lots * min(partitions, gathered))
