"""A comparison as JSON, Markdown, plots and grids, and the words for the terminal."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from training.command import replace
from training.comparing.figures import UNKNOWN
from training.drawn import read_pictures
from training.generation.fonts import font_for
from training.generation.sheet import Row, sheets
from training.measures.figures import Figure
from training.measures.tables import cell, lines, markdown

_SHOWN: Final = 12  # prompts of the grid


def write(out: Path, comparison: dict[str, Any]) -> str:
    """Writes comparison.json, .md, .png and grid.png; returns what a terminal shows."""
    rows = table(comparison)
    replace(out / "comparison.json", json.dumps(comparison, ensure_ascii=False, indent=1) + "\n")
    replace(out / "comparison.md", document(comparison))
    plot(out / "comparison.png", comparison)
    grid(comparison).save(out / "grid.png")
    where = f"{out / 'comparison.md'}  comparison.json  comparison.png  grid.png"
    return "\n".join([headline(comparison), "", *lines(rows), "", *remarks(comparison), "", *lines(costs(comparison)), "", where])


def headline(comparison: dict[str, Any]) -> str:
    """What was compared, and how many measures told a difference."""
    first, second = comparison["names"]
    told = [measure["says"] for measure in comparison["measures"].values()]
    counts = " and ".join(f"{told.count(f'{name} better')} for {name}" for name in (second, first))
    of = f"Of {sum(one != UNKNOWN for one in told)} measures {counts}; the others show no difference"
    said = "One seed has no interval: no difference is claimed" if comparison["seeds"] == 1 else of
    reference = comparison["reference"]
    return (
        f"{second} against {first}: {comparison['base']} fine-tuned {comparison['steps']:,} steps, {_seeds(comparison['seeds'])} each; "
        f"{reference['n']:,} held-out pairs of {reference['release']}. {said}."
    )


def table(comparison: dict[str, Any]) -> list[list[str]]:
    """A row a measure: means over seeds, the paired difference with its interval, and which is better."""
    first, second = comparison["names"]
    rows = [["measure", "better", "base", first, second, f"{second} - {first} [95 %]", "n", "says"]]
    for measure in comparison["measures"].values():
        digits = measure["digits"]
        means = [_mean(measure["values"][name], digits) for name in (first, second)]
        difference = _figure(measure["difference"])
        base = cell(Figure(measure["base"], 1), digits)
        rows.append([measure["title"], measure["better"], base, *means, cell(difference, digits), str(difference.n), measure["says"]])
    return rows


def costs(comparison: dict[str, Any]) -> list[list[str]]:
    """A row a run: what it saw and what it took."""
    rows = [["run", "samples seen", "of pairs", "distinct at most", "seconds to train", "pictures/s"]]
    for run in comparison["runs"]:
        seen = [f"{run[name]:,}" for name in ("samples_seen", "pairs", "distinct_at_most")]
        rows.append([run["name"], *seen, f"{run['seconds']:,.0f}", _rate(run["drawn"])])
    return [*rows, ["base", "", "", "", "", _rate(comparison["base_cost"])]]


def remarks(comparison: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers."""
    measures = comparison["measures"].values()
    told = [
        f"not measured: {measure['title']}: {why}" for measure in measures for why in measure["notes"][:1] if measure["says"] == UNKNOWN
    ]
    told.append(
        f"Intervals: Student's, paired, over {_seeds(comparison['seeds'])} of training; pairs, prompts and noise are the same for all."
    )
    told.append(
        f"Of {len(comparison['measures'])} independent measures at 95 % one or more would tell a difference by chance in "
        f"{1 - 0.95 ** len(comparison['measures']):.0%} of comparisons: read them together."
    )
    told.append(
        "Nearer to training: 0.5 is as near as held-out pictures are. Below that, lower tells of pictures unlike any and not of fewer copies."
    )
    if comparison["features"] == "embedded CLIP" and comparison["base"] == "embedded":
        told.append("The embedded base has its text encoder from the embedded CLIP model; --features names a judge that took no part.")
    return told


def document(comparison: dict[str, Any]) -> str:
    """comparison.md."""
    against = [["measure", *(f"{name} - base [95 %]" for name in comparison["names"]), "says"]]
    for measure in comparison["measures"].values():
        sides = [measure["against_base"][name] for name in comparison["names"]]
        cells = [cell(_figure(side), measure["digits"]) for side in sides]
        against.append([measure["title"], *cells, "; ".join(dict.fromkeys(side["says"] for side in sides))])
    releases = [["", "release", "digest", "pairs", "licence classes"]]
    for name, release in comparison["releases"].items():
        classes = ", ".join(f"{count:,} {class_}" for class_, count in (release["licenses"] or {}).items()) or "not counted"
        releases.append([name, release["name"], release["digest"][:12], f"{release['pairs']['all']:,}", classes])
    parts = [
        f"# {comparison['names'][1]} against {comparison['names'][0]}",
        headline(comparison),
        markdown(table(comparison)),
        "\n".join(f"- {remark}" for remark in remarks(comparison)),
        "![each measure, seed by seed](comparison.png)",
        "![the same prompts and noise](grid.png)",
        "## Against the base",
        markdown(against),
        "The base was drawn once: these intervals too are over the seeds of training alone.",
        "## Cost",
        markdown(costs(comparison)),
        "## Releases",
        markdown(releases),
        f"Flags of every fine-tuning: `{shlex.join(comparison['flags']) or 'defaults'}`. Pictures: {comparison['draw']['steps']} steps, guidance "
        f"{comparison['draw']['guidance']}, seed {comparison['draw']['seed']}.",
    ]
    return "\n\n".join(parts) + "\n"


def grid(comparison: dict[str, Any]) -> Image.Image:
    """The first prompts, a row of three pictures each: base, and seed 0 of both."""
    names = ["base", *(f"{name}-0" for name in comparison["names"])]
    sets = [read_pictures(Path(comparison["folders"][name]) / "pictures") for name in names]
    by_prompt = [dict(zip(one.prompts, one.arrays, strict=True)) for one in sets]
    shared = [caption for caption in dict.fromkeys(comparison["captions"]) if all(caption in one for one in by_prompt)][:_SHOWN]
    rows = [
        Row(caption, [Image.fromarray(one[caption]) for one in by_prompt], " | ".join(("base", *comparison["names"])), number)
        for number, caption in enumerate(shared)
    ]
    return next(sheets(rows, font_for(shared)))


def plot(path: Path, comparison: dict[str, Any]) -> None:
    """A panel a measure: every seed a line from the first release to the second, the base dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [
        measure
        for measure in comparison["measures"].values()
        if any(value is not None for values in measure["values"].values() for value in values)
    ]
    columns = min(4, len(shown))
    down = -(-len(shown) // columns)
    figure, axes = plt.subplots(down, columns, figsize=(3.6 * columns, 3.3 * down), dpi=100, layout="constrained", squeeze=False)
    first, second = comparison["names"]
    for panel, measure in zip(axes.flat, shown, strict=False):
        for one, other in zip(measure["values"][first], measure["values"][second], strict=True):
            panel.plot([0, 1], [np.nan if value is None else value for value in (one, other)], "o-", color="#0072B2", alpha=0.7)
        if measure["base"] is not None:
            panel.axhline(measure["base"], color="#777777", linestyle="--", linewidth=1, label="base")
        if measure["real"] is not None:
            panel.axhline(measure["real"], color="#E69F00", linestyle=":", linewidth=1.5, label="real pictures")
        panel.set_xticks([0, 1], [first, second])
        panel.set_xlim(-0.3, 1.3)
        panel.set_title(measure["title"].replace(", " + comparison["features"], ""), fontsize=9)
        panel.set_xlabel(f"{measure['better']} is better; {measure['says']}", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.ticklabel_format(axis="y", useOffset=False)
    for panel in list(axes.flat)[len(shown) :]:
        panel.set_axis_off()
    handles = {label: handle for panel in axes.flat for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.suptitle(f"{comparison['base']}, {comparison['steps']:,} steps: a line a seed; features: {comparison['features']}", fontsize=10)
    figure.savefig(path)
    plt.close(figure)


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "not measured"


def _figure(told: dict[str, Any]) -> Figure:
    return Figure(told["value"], told["n"], told.get("low"), told.get("high"))


def _rate(cost: dict[str, Any]) -> str:
    return f"{cost['pictures'] / cost['seconds']:.2f}" if cost.get("seconds") else ""


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
