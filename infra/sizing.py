"""What a job would take: machine-hours, wall time, bytes, requests and money, for so many pairs. `python -m infra.sizing --help`."""

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from infra.constants import IMAGES_S, MODELS
from infra.cost import RUNNERS, Job, Step, estimate

PRICES: Final = Path(__file__).with_name("prices.toml")
EXIT_USAGE: Final = 2
_EXAMPLES: Final = """examples:
  python -m infra.sizing --pairs 1e6
      a million pairs on this machine
  python -m infra.sizing --pairs 5e9 --runner dataflow --workers 500 --cores 8 --memory_gb 32 --model vit-b-32 --device a100
      five thousand million on Dataflow, scored by an A100 a worker
  python -m infra.sizing --pairs 1e8 --runner spark --workers 20 --prices ours.toml
      with your own prices: a copy of infra/prices.toml

What is measured here and what is cited: infra/SIZING.md. The web's part is yours to measure: fetch a sample of your list first
(python -m pipelines.ingest --sample 0.001), and read alive, bytes and seconds from python -m pipelines.fetch_summary.
"""
_HELP: Final = {
    "pairs": "pairs of the source, as in 5e9",
    "runner": "which prices: local, dataflow, spark or flink",
    "image_bytes": "bytes of an image, on average",
    "alive": "share of pairs whose image comes",
    "duplicates": "share of those that repeat another",
    "passing": "share of living pairs that the rules keep",
    "unit": "rows of a unit (--unit_size of the job)",
    "model": "CLIP model",
    "device": "what it runs on: cpu, or one accelerator a worker: t4, a100",
    "near": "near-duplicates: off, fast or complete",
    "workers": "machines",
    "cores": "of a machine",
    "memory_gb": "of a machine",
    "connections": "open requests of one process (--connections of the job); a process a core",
    "request_s": "seconds that a url takes a connection, dead ones and retries counted; assumed: measure yours",
    "months": "for which what is stored is paid",
    "epochs": "of training on what is kept",
    "train_rate": "images a second of one accelerator in training: training.finetune shows yours; without it, train is left out",
    "train_device": "accelerator of training, for its price",
}
_CHOICES: Final = {
    "runner": RUNNERS, "model": MODELS, "device": ("cpu", *sorted({device for _, device in IMAGES_S} - {"cpu"})), "near": ("off", "fast", "complete")
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m infra.sizing", description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for knob in fields(Job):
        default: dict[str, Any] = {} if knob.name == "pairs" else {"default": knob.default}
        kind: Any = float if knob.name == "train_rate" else _number if knob.type in (int, "int") else knob.type
        shown = "" if default.get("default") is None else " (default: %(default)s)"
        made.add_argument(
            f"--{knob.name}", type=kind, required=not default, help=_HELP[knob.name] + shown, choices=_CHOICES.get(knob.name),
            metavar=None if knob.name in _CHOICES else "N", **default,
        )  # fmt: skip
    made.add_argument("--prices", type=Path, default=PRICES, help="TOML of prices (default: infra/prices.toml)", metavar="FILE")
    made.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    return made


def _number(text: str) -> int:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return int(value)


def main(argv: Sequence[str] | None = None) -> int:
    args = vars(parser().parse_args(argv))
    path, as_json = args.pop("prices"), args.pop("json")
    try:
        job, prices = Job(**args), read_prices(path)
    except ValueError as error:
        sys.stderr.write(f"infra.sizing: error: {error}\n")
        return EXIT_USAGE
    steps = estimate(job, prices)
    if as_json:
        told = {"job": asdict(job), "steps": [asdict(step) for step in steps], "prices": _sources(job, prices)}
        sys.stdout.write(json.dumps(told, default=str) + "\n")
    else:
        sys.stdout.write(text(job, steps, prices) + "\n")
    return 0


def read_prices(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Tables of prices. Raises ValueError, which names the file, and the price that is none."""
    try:
        prices = tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"--prices {path}: {error.strerror}; begin with a copy of {PRICES}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--prices {path}: {error}") from error
    for table, rows in prices.items():
        if not isinstance(rows, dict):
            raise ValueError(f"--prices {path}: {table} is no table; prices stand in [dataflow], [store], [spark], …")
        for name, price in rows.items():
            if name not in ("source", "read") and (isinstance(price, bool) or not isinstance(price, int | float) or price < 0):
                raise ValueError(f"--prices {path}: [{table}] {name} = {price!r} is no price; it is dollars, from 0")
    return prices


def text(job: Job, steps: Sequence[Step], prices: Mapping[str, Mapping[str, Any]]) -> str:
    """The table that the command prints."""
    machines = f"{job.workers} worker{'s' if job.workers != 1 else ''} of {job.cores} cores"
    lines = [
        f"{job.pairs:,.0f} pairs on {job.runner}, {machines}: {job.living:,.0f} living, {job.kept:,.0f} kept",
        f"{'step':9}{'core-h':>11}{'device-h':>10}{'wall':>9}  {'bound by':12}{'moved':>9}{'shuffled':>10}{'stored':>9}"
        f"{'writes':>9}{'reads':>9}{'dollars':>14}",
    ]
    for step in steps:
        lines.append(
            f"{step.name:9}{step.core_h:>11,.1f}{step.device_h:>10,.1f}{_wall(step.wall_h):>9}  {step.limit:12}{_size(step.moved):>9}"
            f"{_size(step.shuffled):>10}{_size(step.stored):>9}{_count(step.writes):>9}{_count(step.reads):>9}{_dollars(step):>14}"
        )
    everything = [sum(getattr(step, name) for step in steps) for name in ("core_h", "device_h", "wall_h")]
    stored = sum(step.stored for step in steps)
    lines.append(f"{'all':9}{everything[0]:>11,.1f}{everything[1]:>10,.1f}{_wall(everything[2]):>9}  {'':12}{'':19}{_size(stored):>9}")
    priced = [amount for step in steps for amount in step.money.values() if amount is not None]
    unpriced = sorted({what for step in steps for what, amount in step.money.items() if amount is None})
    if priced:
        lines[-1] += f"{'':18}{sum(priced):>14,.0f}"
    if unpriced:
        lines.append(f"not priced: {', '.join(unpriced)} (--prices)")
    lines += [f"prices: {source}" for source in _sources(job, prices)]
    if job.train_rate is None:
        lines.append("train: not estimated; --train_rate says how many images a second your accelerator trains on")
    return "\n".join(line.rstrip() for line in lines)


def _sources(job: Job, prices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    tables = [job.runner] if job.runner == "local" else [job.runner, "store"]
    return [f"{name}: {prices[name].get('source', 'no source')}, read {prices[name].get('read', '?')}" for name in tables if name in prices]


def _dollars(step: Step) -> str:
    priced = [amount for amount in step.money.values() if amount is not None]
    open_ = len(priced) < len(step.money)
    return "not priced" if not priced else f"{sum(priced):,.2f}{'+' if open_ else ''}"


def _wall(hours: float) -> str:
    return f"{hours * 60:,.1f} min" if hours < 2 else f"{hours:,.1f} h" if hours < 72 else f"{hours / 24:,.1f} d"


def _size(size: float) -> str:
    for unit, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e3:,.0f} KB" if size else "-"


def _count(count: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:,.0f}" if count else "-"


if __name__ == "__main__":
    sys.exit(main())
