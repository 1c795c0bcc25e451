"""Generated pictures against held-out real ones: nearness to prompts and reality, variety, copies. `python -m training.evaluate --help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from training.command import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, MISTAKES, count, quieten, replace, say

if TYPE_CHECKING:
    from training.drawn import Pictures
    from training.evaluation import Evaluation
    from training.features import Features, Shown
    from training.reference import Pairs
    from training.releases import TrainingSet

EVALUATION: Final = "evaluation.json"

_EXAMPLES = """examples:
  python -m training.evaluate --model pigment-model --reference HELD --out pigment-evaluation
      500 pictures for captions of HELD, a release of pairs that were not trained on, and what they are like beside those pairs
  python -m training.evaluate --model pigment-model --reference HELD --training pigment-data --out pigment-evaluation
      and whether they are copies of what was trained on
  python -m training.evaluate --pictures drawn/ --reference HELD --split any --out pigment-evaluation
      pictures that python -m training.generate wrote, with their own prompts
  python -m training.evaluate --model embedded --reference HELD --caption caption_ko --count 200 --out korean
      prompts from another carried column
  python -m training.evaluate --model pigment-model --reference HELD --features ViT-B-32/openai --out pigment-evaluation
      with another CLIP model than the small embedded one (from open_clip's cache, a file, or a hub)

Held out are the pairs of split `heldout`, as the carried column `split` says, else by concept (training/splits.py); pairs that are in the
--training release too are left out. Real pictures are brought to the generated ones' size before they are looked at. Where there are enough
held-out pairs, as many others are measured in place of generated pictures: the column "real" is what a perfect model would get.
Every figure names its features: those of a CLIP model. FID by name needs the Inception network, whose weights no package carries.
The embedded base takes its text encoder from the embedded CLIP model, so of it that model is no independent judge of prompts.

A stopped evaluation goes on with the same command. exit codes: 0 done   2 wrong use   130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    p = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Measures a model's pictures against held-out pairs of a release.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="MODEL", help="what draws: embedded, a folder of training.finetune or diffusers, or a hub's name")
    what.add_argument("--pictures", metavar="DIR", type=Path, help="pictures that are drawn already, with their pictures.jsonl")
    p.add_argument(
        "--reference", metavar="RELEASE", required=True, help="a dataset or <dataset>/releases/<name> whose held-out pairs are real"
    )
    p.add_argument("--training", metavar="RELEASE", help="what the model was trained on, to look for copies (default: not measured)")
    p.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for evaluation.json, plots and pictures")
    p.add_argument(
        "--prompts",
        default="heldout",
        metavar="FILE",
        help="captions of the held-out pairs, or a file of one prompt a line (default: heldout)",
    )
    p.add_argument(
        "--split", default="heldout", choices=("train", "validation", "heldout", "any"), help="which pairs are held out (default: heldout)"
    )
    p.add_argument("--caption", default="caption", metavar="COLUMN", help="carried column with the prompt (default: caption)")
    p.add_argument("--count", type=count, default=500, help="pictures and held-out pairs (default: 500)")
    p.add_argument(
        "--features", default="embedded", metavar="MODEL", help="embedded, local-dir:FOLDER or ARCHITECTURE/CHECKPOINT (default: embedded)"
    )
    p.add_argument("--seed", type=int, default=0, help="of the choice of pairs, noise and intervals (default: 0)")
    p.add_argument("--steps", type=count, help="of the sampler (default: what it needs)")
    p.add_argument("--guidance", type=float, help="scale (default: the pipeline's own)")
    p.add_argument("--batch", type=count, default=16, help="pictures drawn at a time (default: 16)")
    p.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    p.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the weights that draw (default: fp32)")
    p.add_argument("--cache", metavar="DIR", type=Path, help="what was seen of real pictures, for other evaluations (default: OUT/cache)")
    p.add_argument("--json", action="store_true", help="the evaluation as one JSON object on stdout, nothing else there")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    args = parser().parse_args(argv)
    quieten()
    try:
        return _run(args)
    except KeyboardInterrupt:
        return say("interrupted; the same command goes on from here", EXIT_INTERRUPTED)
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)


def _run(args: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from training.drawn import costs, draw_into, read_pictures
    from training.evaluation import Judge
    from training.features import Features
    from training.generate import model_name, opened, read_prompts
    from training.heldout_loss import heldout_losses
    from training.measures.figures import mean_of
    from training.releases import open_release

    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    reference = open_release(args.reference, licenses=None, optouts=False)  # it is looked at, not learned from
    trained_on = None if args.training is None else open_release(args.training, licenses=None, optouts=False)
    pairs, others = chosen_pairs(reference, [trained_on] if trained_on else [], args)
    folder = args.pictures or args.out / "pictures"
    if args.pictures is None:
        prompts = list(pairs.captions) if args.prompts == "heldout" else read_prompts((), args.prompts)
        pipeline = opened(args.model, None, args.dtype, args.device)
        sampling = {"seed": args.seed, "steps": args.steps, "guidance": args.guidance, "batch": args.batch, "dtype": args.dtype}
        draw_into(folder, pipeline, model_name(args.model, None), prompts, **sampling, progress=shown("draw"))
    pictures = read_pictures(folder)
    features = Features(args.features, device=args.device)
    judge = Judge(features, pairs, others, cache=args.cache or args.out / "cache", seed=args.seed, progress=shown)
    found = judge.evaluate(pictures, trained_on)
    if args.pictures is None:
        found.figures["heldout_loss"] = mean_of(np.asarray(heldout_losses(pipeline, pairs), np.float64), seed=args.seed)
    what = {
        "model": args.model, "pictures": str(folder), "count": len(pictures), "size": list(pictures.size), "seed": args.seed,
        "steps": args.steps, "guidance": args.guidance, "cost": costs(folder),
    }  # fmt: skip
    told = as_json(
        found, what=what, features=features, pairs=pairs, others=others, split=args.split, caption=args.caption, trained_on=trained_on
    )
    put(args.out, told, found, pictures, trained_on)
    if args.json:
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(
            text_of(told, found) + f"\n{args.out / EVALUATION}, evaluation.png" + (", nearest.png" if trained_on else "") + "\n"
        )
    return EXIT_DONE


def chosen_pairs(reference: "TrainingSet", trained_on: Sequence["TrainingSet"], args: argparse.Namespace) -> tuple["Pairs", "Pairs | None"]:
    """`count` held-out pairs, and as many others; None where there are fewer. args: split, count, caption, seed. Raises ReleaseError."""
    from training.reference import reference_pairs

    pairs = reference_pairs(reference, split=args.split, count=2 * args.count, caption=args.caption, trained_on=trained_on, seed=args.seed)
    first = pairs.part(0, args.count)
    return first, pairs.part(args.count, 2 * args.count) if len(pairs) == 2 * args.count else None


def shown(what: str) -> "Shown":
    """Progress of `what` on standard error."""
    from training.generation.progress import Progress

    progress: Progress | None = None

    def advance(done: int, of: int) -> None:
        nonlocal progress
        if progress is None or done < progress.done:
            progress = Progress(of, what).__enter__()
        progress.advance(done - progress.done)
        if done >= of:
            progress.__exit__()

    return advance


def as_json(
    found: "Evaluation",
    *,
    what: dict[str, Any],
    features: "Features",
    pairs: "Pairs",
    others: "Pairs | None",
    split: str,
    caption: str,
    trained_on: "TrainingSet | None",
) -> dict[str, Any]:
    """The evaluation as it is written to evaluation.json."""
    from training.measures.names import MEASURES

    def figures(of: dict) -> dict[str, Any]:
        return {
            name: {"title": MEASURES[name].title.format(features=features.label), "better": MEASURES[name].better, **figure.as_json()}
            for name, figure in of.items()
        }

    release = pairs.release
    return {
        "what": what,
        "features": {"name": features.label, "identity": features.identity},
        "reference": {
            "release": release.release.name, "digest": release.manifest["digest"], "split": split, "caption": caption, "n": len(pairs),
            "others_n": 0 if others is None else len(others), "left_out_as_trained_on": pairs.left_out,
        },
        "training": None if trained_on is None else {
            "release": trained_on.release.name, "digest": trained_on.manifest["digest"], "n": len(trained_on.samples),
        },
        "figures": figures(found.figures),
        "real": figures(found.real),
        "memorisation": found.memorisation,
    }  # fmt: skip


def text_of(told: dict[str, Any], found: "Evaluation") -> str:
    """The evaluation for a terminal."""
    from training.measures.tables import figure_rows, lines

    reference, label = told["reference"], told["features"]["name"]
    head = (
        f"{told['what']['count']:,} pictures of {told['what']['model'] or told['what']['pictures']} ({told['what']['size'][0]} px) against "
        f"{reference['n']:,} held-out pairs of release {reference['release']}; intervals of 95 %\n"
    )
    rows = figure_rows({"generated": found.figures, f"real (n={reference['others_n'] or reference['n']})": found.real}, label)
    text = [head, *lines(rows)]
    text += [f"not measured: {name}: {figure.note}" for name, figure in found.figures.items() if figure.value is None]
    if found.memorisation is not None:
        text += ["", *_copies(found.memorisation, told["training"])]
    if (cost := told["what"]["cost"])["pictures"]:
        text += ["", f"drawn in {cost['seconds']:.0f} s, {cost['pictures'] / max(cost['seconds'], 1e-9):.2f} pictures/s"]
    return "\n".join(text)


def _copies(memorisation: dict[str, Any], training: dict[str, Any]) -> list[str]:
    cosine, pdq = memorisation["cosine"], memorisation["pdq"]
    text = [
        f"copies: of {cosine['n']:,} pictures {cosine['nearer_than_any']} are nearer to one of the {training['n']:,} training pictures than any of "
        f"{cosine['heldout_n']:,} held-out ones, by cosine"
    ]
    if "matches" in pdq:
        text.append(
            f"        {pdq['matches']} of {pdq['n']:,} are the same picture as a training one by PDQ ({pdq['match_bits']} bits or fewer), and "
            f"{pdq['heldout_matches']} of {pdq['heldout_n']:,} held-out ones"
        )
    closest = memorisation["closest"][0]
    return [
        *text,
        f"        the nearest: {closest['prompt']!r}, cosine {closest['cosine']} to {closest['uid']} {closest['caption']!r}; look at nearest.png",
    ]


def put(out: Path, told: dict[str, Any], found: "Evaluation", pictures: "Pictures", trained_on: "TrainingSet | None") -> None:
    """Writes evaluation.json, evaluation.png and, with a training release, nearest.png."""
    from training.measures.plots import plot
    from training.nearest_sheet import write_nearest

    out.mkdir(parents=True, exist_ok=True)
    title = f"{Path(told['what']['model'] or told['what']['pictures']).name} against held-out pairs of {told['reference']['release']}"
    plot(
        out / "evaluation.png", title=title, features=told["features"]["name"], figures=found.figures, real=found.real,
        scores=found.scores, real_scores=found.real_scores, nearest=found.nearest,
    )  # fmt: skip
    if trained_on is not None and found.memorisation is not None:
        write_nearest(out / "nearest.png", found.memorisation["closest"], pictures, trained_on)
    replace(out / EVALUATION, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
