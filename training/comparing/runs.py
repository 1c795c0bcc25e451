"""Fine-tuning with every seed on both releases, one run after the other; what is finished stays."""

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.checkpoints import RUN
from training.command import EXIT_INTERRUPTED, Mistake
from training.finetune import FREE, KnobError, Knobs, read_knobs

OURS: Final = ("--model", "--release", "--out", "--steps", "--seed", "--config")  # what this command decides


class RunFailed(Mistake):
    """A fine-tuning ended with an error, or was asked for what it cannot do; the message says which."""


@dataclass(frozen=True)
class Plan:
    """releases: name to path, the first and the second. passed: further flags of finetune, the same for all runs."""

    out: Path
    base: str
    releases: dict[str, str]
    steps: int
    seeds: int
    passed: Sequence[str]

    def flags(self, of: str, seed: int) -> list[str]:
        """Of finetune, for one run. Grids while training would cost more than the training; the user's own flags come last and win."""
        return [
            "--model", self.base, "--release", self.releases[of], "--steps", str(self.steps), "--seed", str(seed),
            "--out", str(self.folder(of, seed)), "--sample_every", "0", "--held_out", "0", "--checkpoint_every", "1000", "--keep", "1",
            *self.passed,
        ]  # fmt: skip

    def folder(self, of: str, seed: int) -> Path:
        return self.out / "runs" / f"{of}-{seed}"


@dataclass(frozen=True)
class Run:
    """A finished run. of: the release's name. told: its run.json."""

    of: str
    seed: int
    folder: Path
    told: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.of}-{self.seed}"


def run_all(plan: Plan, *, say: Callable[[str], object]) -> list[Run]:
    """All runs, seed by seed, so that a comparison that is stopped has whole pairs. Raises RunFailed."""
    if taken := [flag for flag in plan.passed if flag.partition("=")[0] in OURS]:
        raise RunFailed(f"{', '.join(taken)}: this command decides that for each run; see --help")
    runs: list[Run] = []
    for seed in range(plan.seeds):
        for of in plan.releases:
            folder, flags = plan.folder(of, seed), plan.flags(of, seed)
            number = len(runs) + 1
            told = finished(folder, flags)
            if told is None:
                say(f"run {number} of {plan.seeds * 2}: {of}, seed {seed}")
                _finetune(flags)
                told = finished(folder, flags)
                if told is None:
                    raise RunFailed(f"{folder / RUN} does not say that the run is finished; give another --out")
            runs.append(Run(of, seed, folder, told))
    return runs


def finished(folder: Path, flags: Sequence[str]) -> dict[str, Any] | None:
    """run.json of a run that is done with these flags; None where it is not, or has other knobs (finetune then says which)."""
    asked = _knobs(flags)
    try:
        told = json.loads((folder / RUN).read_text("utf-8"))
    except FileNotFoundError:
        return None
    same = all(told["knobs"].get(name) == value for name, value in asked.items() if name not in FREE)
    return told if told.get("finished") and told.get("steps") == asked["steps"] and same else None


def _knobs(flags: Sequence[str]) -> dict[str, Any]:
    try:
        knobs: Knobs = read_knobs(flags)
    except KnobError as error:
        raise RunFailed(str(error)) from error
    return json.loads(json.dumps(dataclasses.asdict(knobs)))


def _finetune(flags: Sequence[str]) -> None:
    """A process of its own: its memory is given back. Raises RunFailed, and KeyboardInterrupt when it was stopped."""
    # In a session of its own a terminal's Ctrl-C reaches us alone, and the run once: told twice, it would not keep its step.
    process = subprocess.Popen([sys.executable, "-m", "training.finetune", *flags], stdout=sys.stderr, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise RunFailed(f"python -m training.finetune {' '.join(flags)} ended with exit code {code}; what it said is above")
