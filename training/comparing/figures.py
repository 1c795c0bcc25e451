"""What is better by how much: differences of the same measure, seed by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.checkpoints import EMBEDDED
from training.comparing.runs import Plan, Run
from training.comparing.scores import Score
from training.generate import model_name
from training.measures.figures import Figure, over_seeds
from training.measures.names import MEASURES
from training.reference import Pairs

NONE, UNKNOWN, ONE = "no difference shown", "not measured", "one seed: no interval"


def verdict(difference: Figure, better: str, first: str, second: str) -> str:
    """Which of two is better, where `difference` is second minus first: none, where its interval holds zero (an end included)."""
    if difference.value is None:
        return UNKNOWN
    if difference.low is None or difference.high is None:
        return ONE
    if difference.low <= 0 <= difference.high:
        return NONE
    return f"{second if (difference.value > 0) == (better == 'higher') else first} better"


def differences(name: str, ones: Sequence[Score], others: Sequence[Score]) -> Figure:
    """Of measure `name`, others minus ones, over the seeds where both were measured."""
    pairs = [(one.figures.get(name), other.figures.get(name)) for one, other in zip(ones, others, strict=True)]
    return over_seeds(
        [b.value - a.value for a, b in pairs if a is not None and b is not None and a.value is not None and b.value is not None]
    )


def compare(
    plan: Plan,
    runs: Sequence[Run],
    scores: Mapping[str, Score],
    *,
    pairs: Pairs,
    others: Pairs | None,
    split: str,
    features: str,
    draw: Mapping[str, Any],
) -> dict[str, Any]:
    """The comparison as it is written to comparison.json. scores: by the runs' names, and "base"."""
    first, second = plan.releases
    by = {of: [scores[run.name] for run in runs if run.of == of] for of in plan.releases}
    base = scores["base"]
    measures = {}
    for name, measure in MEASURES.items():
        difference = differences(name, by[first], by[second])
        against = {of: differences(name, [base] * len(by[of]), by[of]) for of in plan.releases}
        seen = [base, *by[first], *by[second]]
        whys = dict.fromkeys(score.figures[name].note for score in seen if name in score.figures and score.figures[name].value is None)
        measures[name] = {
            "title": measure.title.format(features=features),
            "better": measure.better,
            "digits": measure.digits,
            "base": _value(base, name),
            "real": _value(Score(base.real, {}, [], {}, base.folder), name),
            "values": {of: [_value(score, name) for score in by[of]] for of in plan.releases},
            "difference": difference.as_json(),
            "says": verdict(difference, measure.better, first, second),
            "against_base": {
                of: {**one.as_json(), "says": verdict(one, measure.better, "base", of)} for of, one in against.items()
            },
            "notes": [why for why in whys if why],
        }  # fmt: skip
    release = pairs.release
    return {
        "base": model_name(plan.base, None) if plan.base != EMBEDDED else EMBEDDED,
        "names": [first, second],
        "steps": plan.steps,
        "seeds": plan.seeds,
        "flags": list(plan.passed),
        "features": features,
        "draw": dict(draw),
        "reference": {
            "release": release.release.name, "digest": release.manifest["digest"], "split": split, "n": len(pairs),
            "others_n": 0 if others is None else len(others), "left_out_as_trained_on": pairs.left_out,
        },
        "releases": {of: next(run.told["release"] for run in runs if run.of == of) for of in plan.releases},
        "runs": [_cost(run, scores[run.name]) for run in runs],
        "base_cost": base.cost,
        "folders": {name: str(score.folder) for name, score in scores.items()},
        "captions": list(pairs.captions),
        "measures": measures,
    }  # fmt: skip


def _cost(run: Run, score: Score) -> dict[str, Any]:
    trained_on = run.told["release"]["pairs"]["trained_on"]
    return {
        "name": run.name,
        "of": run.of,
        "seed": run.seed,
        "folder": str(run.folder),
        "samples_seen": run.told["samples_seen"],
        "pairs": trained_on,
        "distinct_at_most": min(run.told["samples_seen"], trained_on),
        "seconds": run.told["seconds"],
        "drawn": score.cost,
    }


def _value(score: Score, name: str) -> float | None:
    figure = score.figures.get(name)
    return None if figure is None else figure.value
