"""An evaluation as data and as lines for the screen."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.command import UsageError
from quality.evaluation.intervals import Interval, share
from quality.evaluation.measures import Ranked, at_threshold, calibration, ranking
from schemas.columns import range_of

_TENTHS: Final = tuple(number / 10 for number in range(1, 10))


def measured(
    values: pa.ChunkedArray,
    field: pa.Field,
    truth: np.ndarray,
    weights: np.ndarray,
    *,
    at: Sequence[float] | None = None,
    yes: Sequence[str] | None = None,
    lower_is_yes: bool = False,
) -> dict[str, Any]:
    """Measures of a column against answers. values, truth (booleans) and weights belong together, row by row; nulls and NaN are counted and left
    out. at: thresholds, inclusive; default tenths of a range 0..1, else the deciles. yes: which words of a text column mean yes. Raises
    UsageError for a column that cannot be measured so."""
    there = ~np.asarray(pc.is_null(values, nan_is_null=True))
    values = values.filter(pa.array(there))
    truth, weights = truth[there], weights[there]
    common = {"missing": int((~there).sum()), "yes": int(truth.sum()), "no": int((~truth).sum()), "share_of_yes": share(truth, weights)}
    kind = field.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        score = np.asarray(values, np.float64)
        if at is not None and pa.types.is_floating(kind):  # as policies do: 0.35 as the column has it
            at = [float(kind.to_pandas_dtype()(bound)) for bound in at]
        return common | _number(score, truth, weights, range_of(field) == (0, 1), at, lower_is_yes)
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return common | _words(values.cast(pa.string()).to_pylist(), truth, weights, field.name, yes, kind)
    raise UsageError(f"{field.name} is {kind}; an evaluation needs numbers, text or true and false")


def _number(
    score: np.ndarray, truth: np.ndarray, weights: np.ndarray, probability: bool, at: Sequence[float] | None, lower_is_yes: bool
) -> dict[str, Any]:
    facing = -score if lower_is_yes else score
    found: dict[str, Any] = {"kind": "number", "higher_means": "no" if lower_is_yes else "yes", **ranking(truth, facing, weights)}
    if at is None:
        at = (
            [float(np.float32(tenth)) for tenth in _TENTHS]
            if probability
            else sorted(set(np.quantile(score, _TENTHS).tolist()))
            if len(score)
            else ()
        )
    called = [(bound, score <= bound if lower_is_yes else score >= bound) for bound in at]
    found["thresholds"] = [{"at": bound, **at_threshold(truth, said, weights)} for bound, said in called]
    if truth.any() and not truth.all():
        found["curves"] = Ranked(truth, facing).curves(weights)
    if probability and not lower_is_yes and len(score):
        found["calibration"] = calibration(truth, score, weights)
    return found


def _words(
    words: Sequence[str], truth: np.ndarray, weights: np.ndarray, name: str, yes: Sequence[str] | None, kind: pa.DataType
) -> dict[str, Any]:
    from quality.deepfake import BANDS

    known = BANDS if name == "deepfake.band" else ("false", "true") if pa.types.is_boolean(kind) else tuple(sorted(set(words)))
    yes = yes or (("review", "high") if known == BANDS else ("true",) if pa.types.is_boolean(kind) else None)
    if yes is None or not set(yes) <= set(known):
        raise UsageError(f"{name} has the words {', '.join(known) or '(none)'}; say which mean yes with --yes WORD,WORD")
    these = np.array(words, object)
    confusion = [
        {
            "value": word,
            "yes": int((truth & (these == word)).sum()),
            "no": int((~truth & (these == word)).sum()),
            "share_of_yes": share(truth[these == word], weights[these == word]),
        }
        for word in known
    ]
    return {"kind": "words", "yes_words": list(yes), "confusion": confusion, **at_threshold(truth, np.isin(these, list(yes)), weights)}


def lines_of(result: dict[str, Any]) -> list[str]:
    """The evaluation as a table."""
    told = result["measured"]
    labels = result["labels"]
    lines = [
        f"column     {result['column']} ({result['scorer']})",
        f"labels     {labels['used']:,} used: {told['yes']:,} yes, {told['no']:,} no; {told['missing']:,} not measured; left out: "
        f"{labels['unsure']:,} unsure, {labels['split']:,} split, {labels['not_in_pool']:,} not in the pool",
        f"yes        {_shown(told['share_of_yes'])}{' (weighted by 1 / sampling_probability)' if labels['weighted'] else ''}",
    ]
    if told["kind"] == "number":
        lines += [f"ROC AUC    {_shown(told['roc_auc'])}", f"PR AP      {_shown(told['average_precision'])}"]
        sign = "at most" if told["higher_means"] == "no" else "at least"
        lines += ["", f"{sign:10} precision            recall               false positives"]
        lines += [
            f"{row['at']:<10.4g} {_shown(row['precision']):20} {_shown(row['recall']):20} {_shown(row['false_positive_rate'])}"
            for row in told["thresholds"]
        ]
    else:
        lines += ["", "value      yes        no         share of yes"]
        lines += [f"{row['value']:10} {row['yes']:<10,} {row['no']:<10,} {_shown(row['share_of_yes'])}" for row in told["confusion"]]
        lines += ["", f"{' or '.join(told['yes_words'])} as yes: precision {_shown(told['precision'])}, recall {_shown(told['recall'])}"]
    if "calibration" in told:
        lines += ["", f"Brier      {_shown(told['calibration']['brier'])}", "", "score      mean       share of yes         pairs"]
        lines += [
            f"{row['from']:.1f}..{row['to']:.1f}   {row['mean_score']:<10.3f} {_shown(row['yes']):20} {row['yes']['n']:,}"
            for row in told["calibration"]["bins"]
        ]
    return lines


def _shown(found: Interval) -> str:
    """`0.812 [0.76, 0.85]`; `not measured` for None."""
    if found["value"] is None:
        return "not measured"
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} [{found['low']:.2f}, {found['high']:.2f}]"
