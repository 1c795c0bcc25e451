"""What was measured on this project's machine, beside what the cost model says of the same runs. `python -m infra.measured`."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra import constants as known
from infra.cost import Job, estimate

STEPS: Final = ("fetch", "score", "select", "shard", "publish")
_OF_SELECT: Final = ("select", "near")  # of the model: the bench's select has near-duplicates on


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m infra.measured", description=__doc__)
    parser.add_argument("what", choices=("growth", "photos", "select"), help="which bench's runs")
    what = parser.parse_args(argv).what
    sys.stdout.write("\n".join(_select() if what == "select" else _steps(what)) + "\n")
    return 0


def _steps(name: str) -> list[str]:
    """Of photographs without the model: it is fitted on their one large run."""
    compared = name == "growth"
    lines = [
        f"{'pairs':>10}  {'step':9}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}" + (f"{'model CPU s':>13}{'model/run':>11}" if compared else "")
    ]
    for pairs, run in sorted(known.runs(name).items()):
        said, steps = modelled(run), run["steps"]
        for step in (*STEPS, "all"):
            of = STEPS if step == "all" else (step,)
            wall, cpu = (sum(steps[each][what] for each in of) for what in ("wall_s", "cpu_s"))
            line = f"{pairs:>10,}  {step:9}{wall:>9,.1f}{cpu:>9,.1f}{max(steps[each]['peak_mb'] for each in of):>9,}"
            told = sum(said[each] for each in of)
            lines.append(line + (f"{told:>13,.1f}{told / cpu:>11.2f}" if compared else ""))
    return lines


def modelled(run: Mapping[str, Any]) -> dict[str, float]:
    """CPU seconds of each step by the cost model, for the pairs and pictures of a run, all of which came and passed the rules."""
    duplicates = 1 - run["kept"] / run["pairs"]
    job = Job(
        pairs=run["pairs"],
        image_bytes=run["picture_bytes"] / run["pairs"],
        alive=1,
        passing=1,
        duplicates=duplicates,
        unit=1_000,
        near="complete",
    )
    said = {step.name: step.core_h * 3600 for step in estimate(job)}
    return {step: sum(said[name] for name in (_OF_SELECT if step == "select" else (step,))) for step in STEPS}


def _select() -> list[str]:
    runs = sorted(known.runs("select").items())
    lines = [f"{'rows':>12}{'wall s':>9}{'CPU s':>9}{'CPU us a row':>14}{'peak MB':>9}{'duplicates':>12}"]
    for rows, run in runs:
        lines.append(
            f"{rows:>12,}{run['wall_s']:>9,.1f}{run['cpu_s']:>9,.1f}{1e6 * run['cpu_s'] / rows:>14,.1f}{run['peak_mb']:>9,}{run['duplicates']:>12,}"
        )
    lines.append(f"on the line through the last two, 1,000,000,000 rows take {known.memory_of_select(1e9) / 1e9:,.1f} GB")
    return lines


if __name__ == "__main__":
    sys.exit(main())
