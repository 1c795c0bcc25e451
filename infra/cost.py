"""The cost model: what a job of so many pairs takes, step by step. Arithmetic alone; constants are in infra/constants.py, prices are given."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra import constants as known

RUNNERS: Final = ("local", "dataflow", "spark", "flink")
STEPS: Final = ("fetch", "score", "select", "near", "shard", "publish", "train")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done. Raises ValueError where a number cannot be.

    alive: share of pairs whose image comes (42 to 97 % by age: DataComp, LAION). duplicates: share of these that repeat another (22 %: COYO, 30 %:
    LAION-2B). passing: share of the living ones that the policy's rules keep. request_s: for how long a url takes a connection, dead ones and
    retries counted: the web's, not ours; pipelines.fetch_summary tells it of a sample. train_rate: images a second of one accelerator.
    """

    pairs: float
    runner: str = "local"
    image_bytes: float = 75_000
    alive: float = 0.6
    duplicates: float = 0.25
    passing: float = 0.5
    unit: int = 10_000
    model: str = "embedded"
    device: str = "cpu"
    near: str = "fast"
    workers: int = 1
    cores: int = 2
    memory_gb: float = 8.0
    connections: int = 64
    request_s: float = 1.0
    months: float = 1.0
    epochs: float = 1.0
    train_rate: float | None = None
    train_device: str = "a100"

    def __post_init__(self) -> None:
        for name in ("pairs", "image_bytes", "unit", "workers", "cores", "memory_gb", "connections", "request_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"--{name} is {getattr(self, name):g}; it must be above 0, and a number")
        for name in ("alive", "duplicates", "passing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"--{name} is {getattr(self, name):g}; it is a share, from 0 to 1")
        if self.model != "embedded" and (self.model, self.device) not in known.IMAGES_S:
            have = ", ".join(f"{model} on {device}" for model, device in known.IMAGES_S)
            raise ValueError(f"no rate is known of {self.model} on {self.device}; known: {have}, and embedded on cpu")
        if self.model == "embedded" and self.device != "cpu":
            raise ValueError(f"the embedded models run on cpu, not on {self.device}; name another --model")

    @property
    def units(self) -> int:
        return math.ceil(self.pairs / self.unit)

    @property
    def living(self) -> float:
        return self.pairs * self.alive

    @property
    def kept(self) -> float:
        return self.living * self.passing * (1 - self.duplicates)


@dataclass
class Step:
    """core_h: core-hours. waits_h: hours that all connections wait for the web. device_h: hours of an accelerator. moved, shuffled, stored: bytes.
    wall_h: with the job's workers. limit: what bounds the wall time. money: dollars by what they are for; None: not priced."""

    name: str
    core_h: float = 0.0
    waits_h: float = 0.0
    device_h: float = 0.0
    device: str = "cpu"
    moved: float = 0.0
    shuffled: float = 0.0
    stored: float = 0.0
    writes: float = 0.0
    reads: float = 0.0
    wall_h: float = 0.0
    limit: str = "cores"
    money: dict[str, float | None] = field(default_factory=dict)


def estimate(job: Job, prices: Mapping[str, Mapping[str, Any]] | None = None) -> list[Step]:
    """The steps of a job with their wall time, and with their money where prices (infra/prices.toml) are given. Train only where its rate is."""
    steps = [_fetch(job), _score(job), _select(job), *([] if job.near == "off" else [_near(job)]), _shard(job), _publish(job)]
    if job.train_rate is not None:
        steps.append(_train(job, job.train_rate))
    for step in steps:
        _time(step, job)
        if prices is not None:
            _price(step, job, prices)
    return steps


def _hours(seconds: float, step: str) -> float:
    return (seconds + known.start_up_seconds(step)) / 3600


def _writes(step: str, units: float) -> float:
    return known.WRITES_A_UNIT[step] * units


def _reads(step: str, units: float) -> float:
    return known.OPEN * known.OPENS_A_UNIT[step] * units


def _fetch(job: Job) -> Step:
    """Dead urls take a connection too, and a small picture's share of a core."""
    seconds = job.living * known.core_seconds("fetch", job.image_bytes) + (job.pairs - job.living) * known.core_seconds("fetch", 0)
    return Step(
        "fetch", core_h=_hours(seconds, "fetch"), waits_h=job.pairs * job.request_s / 3600, moved=job.living * job.image_bytes,
        stored=job.living * job.image_bytes + job.pairs * _bytes_a_pair("raw", "requests"),
        writes=_writes("fetch", job.units), reads=_reads("fetch", job.units),
    )  # fmt: skip


def _score(job: Job) -> Step:
    """With another model than the embedded one its accelerator, or its core, comes on top of what all scorers took."""
    step = Step(
        "score", core_h=_hours(job.living * known.core_seconds("score", job.image_bytes), "score"), moved=job.living * job.image_bytes,
        stored=job.pairs * _bytes_a_pair("scores"), writes=_writes("score", job.units), reads=_reads("score", job.units),
    )  # fmt: skip
    if job.model != "embedded":
        hours = job.living / known.IMAGES_S[job.model, job.device] / 3600
        if job.device == "cpu":
            step.core_h += hours
        else:
            step.device, step.device_h = job.device, hours
    return step


def _select(job: Job) -> Step:
    """Policy and exact duplicates: two rounds of a shuffle."""
    alive = job.living * job.passing
    fingerprints = known.FINGERPRINTS_A_ROW * alive
    partitions = max(2, math.ceil(3 * job.pairs / known.PARTITION_ROWS))
    batches = known.batches(fingerprints, known.GATHERED_ROWS, partitions)
    met = alive * job.duplicates
    shuffled = fingerprints * known.FINGERPRINT_BYTES + batches * known.BATCH_BYTES + 2 * met * known.CANDIDATE_BYTES
    return Step(
        "select", core_h=_hours(job.pairs * known.core_seconds("select", 0), "select"), shuffled=shuffled,
        stored=job.pairs * known.DECISION_BYTES, writes=_writes("select", job.units), reads=_reads("select", job.units),
    )  # fmt: skip


def _near(job: Job) -> Step:
    """Comparisons grow with the square of the hashes; to IN_MEMORY_ROWS by one worker, beyond by a shuffle."""
    hashes = job.living * job.passing * (1 - job.duplicates)
    seconds = hashes**2 / known.PAIRS_A_COMPARISON[job.near] / known.COMPARISONS_S
    step = Step("near", core_h=seconds / 3600)
    if job.pairs > known.IN_MEMORY_ROWS:
        rows = hashes * known.ROWS_A_HASH[job.near]
        partitions = max(2, math.ceil(known.ROWS_A_HASH[job.near] * job.pairs / known.NEAR_PARTITION_ROWS))
        step.core_h += rows * known.ROW_S / 3600
        step.shuffled = rows * known.HASH_ROW_BYTES + known.batches(rows, known.NEAR_GATHERED_ROWS, partitions) * known.BATCH_BYTES
    else:
        step.limit = "one worker"
    return step


def _shard(job: Job) -> Step:
    """Each MEMBERS_AHEAD pairs of shards open every unit: that part grows with pairs times kept pairs."""
    lots = known.lots_of(job.kept)
    rows = (lots - 1) * job.pairs
    seconds = job.kept * known.core_seconds("shard", job.image_bytes) + rows * known.row_read_seconds()
    images = min(job.image_bytes, known.SHARD_IMAGE_BYTES)
    shards = math.ceil(job.kept / known.SHARD_PAIRS)
    return Step(
        "shard", core_h=_hours(seconds, "shard"), moved=job.kept * job.image_bytes, shuffled=80 * job.kept,
        stored=job.kept * (images + known.JSON_BYTES), writes=known.WRITES_A_SHARD * shards,
        reads=_reads("shard", job.units) + known.OPEN * known.OPENS_A_LOT * job.units * lots + job.kept,
    )  # fmt: skip


def _publish(job: Job) -> Step:
    return Step(
        "publish", core_h=_hours(job.pairs * known.core_seconds("publish", 0), "publish"), limit="one process",
        writes=_writes("publish", job.units), reads=_reads("publish", job.units),
    )  # fmt: skip


def _train(job: Job, rate: float) -> Step:
    return Step(
        "train",
        device=job.train_device,
        device_h=job.kept * job.epochs / rate / 3600,
        moved=job.kept * known.SHARD_IMAGE_BYTES * job.epochs,
    )


def _bytes_a_pair(*kinds: str) -> float:
    """What the growth run stored a pair, without the pictures."""
    run = known.runs("growth")[max(known.runs("growth"))]
    stored = sum(run["stored_bytes"][kind] for kind in kinds)
    images = run["picture_bytes"] + 512 * 2 * run["pairs"] if "raw" in kinds else 0  # a tar's header, and its padding
    return max(0.0, (stored - images) / run["pairs"])


def _time(step: Step, job: Job) -> None:
    """Wall time: the slowest of cores, of connections that wait and of accelerators (one a worker)."""
    cores = job.workers * job.cores
    if step.limit != "cores":
        step.wall_h = step.core_h if step.limit == "one process" else step.core_h / job.cores
        return
    bounds = {
        "cores": step.core_h / cores,
        "the web": step.waits_h / (job.connections * cores),
        step.device: step.device_h / job.workers,
    }
    step.limit = max(bounds, key=bounds.__getitem__)
    step.wall_h = bounds[step.limit]


def _price(step: Step, job: Job, prices: Mapping[str, Mapping[str, Any]]) -> None:
    """Workers are paid for as long as the step runs, busy or not. Bytes are paid for `months`."""
    of, store = prices.get(job.runner, {}), prices.get("store", {})
    worker_h = step.wall_h * (1 if step.limit.startswith("one ") else job.workers)
    core, memory = of.get("core_hour"), of.get("memory_gb_hour", 0.0)
    step.money["workers"] = None if core is None else worker_h * (job.cores * core + job.memory_gb * memory)
    if step.device_h:
        device = of.get(f"{step.device}_hour")
        step.money["accelerators"] = None if device is None else max(step.device_h, worker_h if step.name == "score" else 0.0) * device
    if step.shuffled and job.runner == "dataflow":  # elsewhere it is part of the workers' time
        step.money["shuffle"] = step.shuffled / 1e9 * of["shuffle_gb"] if "shuffle_gb" in of else None
    if job.runner != "local":
        rates = {"stored_gb_month": step.stored / 1e9 * job.months, "write": step.writes, "read_request": step.reads}
        step.money["store"] = None if not rates.keys() <= store.keys() else sum(store[name] * count for name, count in rates.items())
