"""A model's card in Hugging Face's format, from what training.finetune and training.evaluate wrote. `python -m training.card --help`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from training.command import EXIT_DONE, EXIT_USAGE, MISTAKES, Mistake, replace, say
from training.measures.figures import Figure
from training.measures.tables import cell, markdown

CARD, RUN, EVALUATION = "README.md", "run.json", "evaluation.json"
UNKNOWN: Final = "not measured"
_EXAMPLES = """examples:
  python -m training.card --model pigment-model
      writes pigment-model/README.md anew from its run.json, and from its evaluation.json or evaluation/evaluation.json where there is one
  python -m training.card --model pigment-model --evaluation pigment-evaluation --license cc-by-sa-4.0

exit codes: 0 done   2 wrong use"""

# What follows for who publishes the model from the licences of what it was trained on, by class (quality/columns/license_terms.py).
OBLIGATIONS: Final = {
    "public-domain": "none",
    "attribution": "the authors are to be named with title, source and licence: the release's index has them pair by pair "
    "(`creator`, `title`, `source_page`, `license`, `license_url`)",
    "share-alike": "named as above; what counts as adapted is to be shared under the same licence. Whether a model is, or only a picture "
    "that shows the work, is not settled: the careful way is to share the model under these terms",
    "no-derivatives": "adaptations may not be shared; training on it was allowed by hand",
    "non-commercial": "no commercial use; training on it was allowed by hand",
    "proprietary": "the owner's leave is needed; training on it was allowed by hand",
    "unknown": "nobody knows the terms; training on it was allowed by hand",
}


class CardError(Mistake):
    """There is nothing to write a card of; the message says what is missing."""


def write_card(
    folder: Path, *, evaluation: Path | None = None, license: str | None = None, manifest: Mapping[str, Any] | None = None
) -> Path:
    """Writes the card of the model in `folder`, which training.finetune finished; returns its path.

    evaluation: an evaluation.json or its folder; None: the model's own, if there is one. license: of the model, as Hugging Face abbreviates it.
    manifest: of the release; None: read where run.json says it lies, and what it alone says is "not known" where that is gone.
    Raises CardError.
    """
    try:
        run = json.loads((folder / RUN).read_text("utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{folder / RUN}: not there; give a folder that python -m training.finetune wrote") from error
    if not run.get("finished"):
        raise CardError(f"{folder}: its fine-tuning has not ended; the command that began it goes on with it")
    told = _evaluation(folder, evaluation)
    found = manifest if manifest is not None else _manifest(run)
    replace(folder / CARD, card(run, name=folder.resolve().name, manifest=found, evaluation=told, license=license))
    return folder / CARD


def card(
    run: Mapping[str, Any], *, name: str, manifest: Mapping[str, Any] | None, evaluation: Mapping[str, Any] | None, license: str | None
) -> str:
    """The card's text. run: run.json of training.finetune. evaluation: evaluation.json of training.evaluate."""
    release, knobs = run["release"], run["knobs"]
    lora = run["method"] == "lora"
    parts = [
        _head(run, license=license, evaluation=evaluation, name=name),
        f"# {name}",
        f"{'A LoRA for' if lora else 'A fine-tuned'} text-to-image diffusion model: `{_base(run)}` trained for {run['steps']:,} steps on release "
        f"`{release['name']}`, by Pigment {run['versions']['pigment']}.",
        "## Use",
        _use(name, lora=lora, run=run),
        "## Training data",
        _data(run, manifest),
        "## Licences and obligations",
        _licences(release),
        "## Training",
        _training(run),
        "## Held-out loss",
        _loss(run),
        "## Evaluation",
        _figures(evaluation),
        "## Intended use and limits",
        _limits(run, evaluation),
        "## Marking",
        "Pictures of this model are to be marked as generated. `python -m training.generate` writes IPTC's `digitalSourceType` = "
        "`trainedAlgorithmicMedia` with model, weights and prompt into the XMP of each PNG; pictures drawn by plain diffusers carry no mark.",
        "## Every setting",
        markdown([["setting", "value"], *([f"`{key}`", f"`{json.dumps(value, ensure_ascii=False)}`"] for key, value in knobs.items())]),
        f"Versions: {', '.join(f'{key} {value}' for key, value in run['versions'].items())}. Device: {run['device']}.",
    ]
    return "\n\n".join(parts) + "\n"


def _head(run: Mapping[str, Any], *, license: str | None, evaluation: Mapping[str, Any] | None, name: str) -> str:
    """YAML between lines of dashes. JSON is YAML, and quotes whatever a name holds."""
    head: dict[str, Any] = {"library_name": "diffusers", "pipeline_tag": "text-to-image"}
    head["license"] = license or "other"
    if license is None:
        head |= {"license_name": "depends-on-training-data", "license_link": "#licences-and-obligations"}
    head["base_model"] = _base(run)
    head["datasets"] = [f"pigment-release-{run['release']['name']}"]
    if languages := run["release"].get("languages"):
        head["language"] = languages
    head["tags"] = ["text-to-image", "diffusers", "diffusers-training", "pigment", *(["lora"] if run["method"] == "lora" else [])]
    if evaluation is not None:
        reference = evaluation["reference"]
        head["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "text-to-image"},
                        "dataset": {"name": f"held-out pairs of {reference['release']}", "type": f"pigment-release-{reference['release']}"},
                        "metrics": [
                            {"type": key, "name": figure["title"], "value": round(figure["value"], 6)}
                            for key, figure in evaluation["figures"].items()
                            if figure["value"] is not None
                        ],
                    }
                ],
            }
        ]
    return "\n".join(["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()), "---"])


def _base(run: Mapping[str, Any]) -> str:
    """The base's name; of a path its last part, since a path tells about its owner."""
    base = str(run["base"])
    return "pigment-embedded-base" if base == "embedded" else Path(base).name if Path(base).is_absolute() else base


def _use(name: str, *, lora: bool, run: Mapping[str, Any]) -> str:
    pipeline = run["model"]["pipeline"]
    code = [f"from diffusers import {pipeline}", ""]
    if lora:
        code += [f'pipeline = {pipeline}.from_pretrained("{_base(run)}")', f'pipeline.load_lora_weights("{name}/lora")']
    else:
        code += [f'pipeline = {pipeline}.from_pretrained("{name}/pipeline")']
    code += ['pipeline("a cute cat, watercolour").images[0]']
    return "\n".join(
        ["```python", *code, "```", "", f'Or `python -m training.generate --model {name} --prompt "귀여운 고양이 수채화" --out pictures`.']
    )


def _data(run: Mapping[str, Any], manifest: Mapping[str, Any] | None) -> str:
    release, knobs = run["release"], run["knobs"]
    pairs = release["pairs"]
    rows = [
        ["", ""],
        ["release", f"`{release['name']}`"],
        ["digest", f"`{release['digest']}`"],
        ["pairs", f"{pairs['all']:,}, of which {pairs['trained_on']:,} were trained on and {pairs['measured']:,} kept for measuring"],
    ]
    if manifest is None:
        rows.append(["policy", "not known: the release was not there when this card was written"])
    else:
        counts, policy = manifest["counts"], manifest["policy"]
        rows.append(["policy", f"`{policy['name']}`, digest `{manifest['policy_digest'][:16]}`, {len(policy['rules'])} rules"])
        rows.append(
            ["decided", f"{counts['keep']:,} kept, {counts['review']:,} for review and {counts['drop']:,} dropped of {counts['rows']:,}"]
        )
        optouts = {reason: count for reason, count in manifest["funnel"]["reasons"].items() if reason.startswith("optout:")}
        rows.append(["dropped as opted out", ", ".join(f"{count:,} {reason}" for reason, count in optouts.items()) or "none"])
    refused = "learned from too, and files that nobody asked: `ignore_optouts` was given" if knobs.get("ignore_optouts") else "refused"
    rows.append(["files that forbid mining in their own metadata (C2PA, IPTC/PLUS)", refused])
    if release.get("overridden"):
        rows.append(["refusals that were overridden", ", ".join(f"`{name}`" for name in release["overridden"])])
    return markdown(rows)


def _licences(release: Mapping[str, Any]) -> str:
    counts = release.get("licenses")
    if counts is None:
        return "Not counted: the release does not say under which licences its pairs stand, so nobody knows what follows."
    rows = [["class", "pairs", "what follows"]]
    rows += [
        [class_, f"{count:,}", OBLIGATIONS.get(class_, "not known here: look at the licences")] for class_, count in counts.items() if count
    ]
    return markdown(rows)


def _training(run: Mapping[str, Any]) -> str:
    knobs, pairs = run["knobs"], run["release"]["pairs"]["trained_on"]
    epochs = run["samples_seen"] / max(pairs, 1)
    rows = [
        ["", ""],
        [
            "base",
            f"`{_base(run)}` ({run['model']['pipeline']}, {run['model']['denoiser']}, {run['model']['prediction']}, {run['model']['space']})",
        ],
        ["resolution", f"{run['model']['resolution']} px"],
        ["method", run["method"]],
        ["weights trained", f"{run['parameters']['trained']:,} of {run['parameters']['denoiser']:,}"],
        ["steps", f"{run['steps']:,} of {knobs['batch']} x {knobs['accumulate']} x {knobs['ranks']} pictures"],
        ["samples seen", f"{run['samples_seen']:,}, {epochs:.2f} times each on average"],
        ["learning rate", f"{knobs['learning_rate']:g}, {knobs['schedule']}, {knobs['warmup']} steps of warm-up"],
        ["seed", str(knobs["seed"])],
        ["time", f"{run['seconds']:,.0f} s"],
    ]
    return markdown(rows)


def _loss(run: Mapping[str, Any]) -> str:
    loss = run.get("held_out_loss")
    if loss is None:
        return f"{UNKNOWN.capitalize()}: no pairs were held out."
    return (
        f"{loss['before']:.4f} before, {loss['after']:.4f} after: {loss['difference']:+.4f} ± {loss['interval']:.4f} (95 %, paired, "
        f"{run['release']['pairs']['measured']:,} pairs that were not trained on)."
    )


def _figures(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return f"{UNKNOWN.capitalize()}: `python -m training.evaluate` has not been run on this model."
    reference, what = evaluation["reference"], evaluation["what"]
    rows = [["measure", "better", "this model [95 %]", "real pictures"]]
    for key, told in evaluation["figures"].items():
        figure = Figure(told["value"], told["n"], told.get("low"), told.get("high"))
        real = evaluation["real"].get(key)
        rows.append(
            [told["title"], told["better"], cell(figure, 4), UNKNOWN if real is None else cell(Figure(real["value"], real["n"]), 4)]
        )
    return (
        f"{what['count']:,} pictures of {what['size'][0]} px, seed {what['seed']}, against {reference['n']:,} held-out pairs of release "
        f"`{reference['release']}` (digest `{reference['digest'][:16]}`).\n\n{markdown(rows)}"
    )


def _limits(run: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    copies = None if evaluation is None else evaluation.get("memorisation")
    told = [
        "For pictures of the kind that the release holds, from prompts of the kind that its captions are. Other subjects and languages are "
        "outside of what was trained and measured.",
        "The release's pictures decide what is drawn, with their biases; nothing here measures how people are shown.",
        "Not for pictures of identifiable people, for passing pictures off as photographs or as somebody's work, or for decisions about people.",
    ]
    if run["model"].get("resolution") and run["model"]["resolution"] <= 64:
        told.append(f"Pictures have {run['model']['resolution']} px: texture and writing cannot be expected.")
    if copies is None:
        told.append("Whether it repeats training pictures: not measured.")
    else:
        told.append(
            f"Of {copies['cosine']['n']:,} pictures {copies['cosine']['nearer_than_any']} were nearer to a training picture than any held-out "
            f"picture was (cosine, {evaluation['features']['name']})."  # type: ignore[index]
        )
    return "\n".join(f"- {line}" for line in told)


def _evaluation(folder: Path, given: Path | None) -> dict[str, Any] | None:
    places = [given, given / EVALUATION] if given is not None else [folder / EVALUATION, folder / "evaluation" / EVALUATION]
    for place in places:
        if place.is_file():
            return json.loads(place.read_text("utf-8"))
    if given is not None:
        raise CardError(f"--evaluation {given}: no evaluation.json there; give a folder that python -m training.evaluate wrote")
    return None


def _manifest(run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The release's, where it is still there and still the same."""
    from schemas.release import ReleaseError
    from schemas.store import StoreError
    from training.releases import open_release

    try:
        manifest = open_release(run["release"]["path"], licenses=None, optouts=False).manifest
    except (ReleaseError, StoreError, OSError):
        return None
    return manifest if manifest["digest"] == run["release"]["digest"] else None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    p = argparse.ArgumentParser(
        prog="python -m training.card", description="Writes a model's card: README.md in its folder.", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    p.add_argument("--model", metavar="DIR", type=Path, required=True, help="a folder that training.finetune wrote")
    p.add_argument("--evaluation", metavar="PATH", type=Path, help="evaluation.json or its folder (default: the model's own, if any)")
    p.add_argument(
        "--license", metavar="ID", help="of the model, as Hugging Face abbreviates it (default: other, and what follows from the data)"
    )
    args = p.parse_args(argv)
    try:
        path = write_card(args.model, evaluation=args.evaluation, license=args.license)
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)
    sys.stdout.write(f"{path}\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
