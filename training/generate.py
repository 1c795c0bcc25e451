"""Pictures from prompts: `python -m training.generate --help`. From Python: `training.generate.pictures`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch

from training.checkpoints import EMBEDDED, open_pipeline
from training.command import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, MISTAKES, count, quieten, say
from training.generation.draw import GenerationError, Picture, Settings, pictures, settings_of
from training.generation.fonts import font_for
from training.generation.index import model_digest
from training.generation.jobs import Enlarger, Job, Model
from training.generation.progress import Progress, duration
from training.generation.ranking import Ranker
from training.generation.samplers import AUTO, OWN, SAMPLERS
from training.generation.upscaling import Upscaler

__all__ = ["Picture", "Settings", "pictures", "settings_of"]

EXIT_EMPTY: Final = 1
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EXAMPLES: Final = """examples:
  python -m training.generate --prompt "귀여운 고양이 수채화" --prompt "a cute cat, watercolour" --out pictures
      by the embedded base, the best of 8 candidates a prompt by the embedded CLIP model; no download
  python -m training.generate --model pigment-model --prompts prompts.txt --candidates 16 --keep 4 --out pictures
      by what training.finetune wrote; a prompt a line
  python -m training.generate --model models/sdxl --lora my-lora --dtype bf16 --size 1024 --negative "blurred, text" \\
      --guidance 6 --sampler unipc --steps 15 --ranker ViT-B-32/weights.pt --prompts - --out pictures
      any text-to-image folder of diffusers; prompts from standard input
  python -m training.generate --prompt "a red fish" --upscale models/x4-upscaler --out pictures

DIR/pictures/ has the PNG files, DIR/pictures.jsonl a line each (file, prompt, seed, score, all candidates' scores, ...), DIR/sheet.png all
of them. Each file says in its XMP that a model made it, which, and from what. Ctrl-C keeps what is done; the same command makes the rest.

exit codes: 0 done   1 a prompt got no picture (the pipeline's safety checker blanked all)   2 wrong use   130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    p = argparse.ArgumentParser(
        prog="python -m training.generate",
        description="Pictures from prompts by a text-to-image pipeline of diffusers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "--model", default=EMBEDDED, help="embedded, a folder of diffusers or of training.finetune, or a hub's name (default: %(default)s)"
    )
    p.add_argument("--lora", metavar="PATH", help="a LoRA's file or folder, put on the model")
    p.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="a prompt; may be given many times")
    p.add_argument("--prompts", metavar="FILE", help="more prompts, one a line, UTF-8; - for standard input")
    p.add_argument("--negative", metavar="TEXT", help="what the pictures should not show")
    p.add_argument(
        "--out", required=True, metavar="DIR", type=Path, help="the folder to write; pictures that it has of the same settings are kept"
    )
    p.add_argument("--overwrite", action="store_true", help="replace pictures in DIR that were made with other settings")
    p.add_argument("--candidates", type=count, default=8, metavar="N", help="pictures drawn a prompt (default: %(default)s)")
    p.add_argument("--keep", type=count, default=1, metavar="N", help="the best of them, which are kept (default: %(default)s)")
    p.add_argument(
        "--ranker",
        default="embedded",
        metavar="MODEL",
        help="the CLIP model that chooses: embedded, local-dir:FOLDER, ARCHITECTURE/CHECKPOINT of open_clip, none (default: %(default)s)",
    )
    p.add_argument("--seed", type=int, default=0, help="of all noise, with the numbers of prompt and candidate (default: %(default)s)")
    p.add_argument(
        "--steps",
        type=count,
        metavar="N",
        help=f"of denoising (default: the sampler's, {', '.join(f'{name} {one.steps}' for name, one in SAMPLERS.items())})",
    )
    p.add_argument("--guidance", type=float, metavar="SCALE", help="classifier-free guidance; 1 is none (default: the pipeline's)")
    p.add_argument(
        "--sampler",
        choices=[AUTO, *SAMPLERS, OWN],
        default=AUTO,
        help="auto: dpm++, or what fits the checkpoint; own: the checkpoint's (default: %(default)s)",
    )
    p.add_argument(
        "--batch",
        type=count,
        default=16,
        metavar="N",
        help="candidates drawn at a time; changes no picture but by rounding (default: %(default)s)",
    )
    p.add_argument("--size", type=_size, metavar="PX|WxH", help="sides in pixels (default: the pipeline's)")
    p.add_argument("--dtype", choices=DTYPES, default="fp32", help="of the weights (default: %(default)s)")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(default here: %(default)s)")
    p.add_argument("--upscale", metavar="DIR", help="a super-resolution pipeline of diffusers, by which what is kept is enlarged")
    p.add_argument("--upscale_steps", type=count, metavar="N", help="of its denoising (default: the pipeline's)")
    p.add_argument(
        "--font", metavar="FILE", help="for the captions of the contact sheet (default: one of the system's that has their letters)"
    )
    return p


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    return count(width), count(height or width)


def read_prompts(given: Sequence[str], file: str | None) -> list[str]:
    """The prompts given, then those of the file, blank lines left out. Raises GenerationError."""
    try:
        read = "" if file is None else sys.stdin.read() if file == "-" else Path(file).read_text("utf-8-sig")
        prompts = [" ".join(prompt.split()) for prompt in (*given, *read.splitlines())]
        "".join(prompts).encode()
    except OSError as error:
        raise GenerationError(f"--prompts {file}: {error.strerror}; give a text file with one prompt a line") from error
    except UnicodeError as error:
        raise GenerationError(f"a prompt is not UTF-8 ({error}); write --prompts as UTF-8 text") from error
    found = [prompt for prompt in prompts if prompt]
    if not found:
        raise GenerationError('no prompt: give --prompt "a cute cat, watercolour" or --prompts FILE')
    return found


def prepare(args: argparse.Namespace, prompts: Sequence[str]) -> Job:
    """Opens the models; everything that can be wrong with the command is found here, before anything is drawn."""
    if args.font is not None:
        font_for((), file=args.font)
    pipeline = opened(args.model, args.lora, args.dtype, args.device)
    settings = settings_of(
        pipeline,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        negative=args.negative,
        sampler=args.sampler,
        size=args.size,
        candidates=args.candidates,
        keep=args.keep,
    )
    enlarger = None
    if args.upscale is not None:
        upscaler = Upscaler(opened(args.upscale, None, args.dtype, args.device), steps=args.upscale_steps)
        enlarger = Enlarger(upscaler, Path(args.upscale).name, model_digest(upscaler.pipeline.components))
    ranked = args.ranker != "none"
    return Job(
        prompts,
        args.out,
        model=Model(pipeline, model_name(args.model, args.lora), model_digest(pipeline.components), args.dtype),
        settings=settings,
        ranker=Ranker(args.ranker, device=args.device) if ranked else None,
        enlarger=enlarger,
        overwrite=args.overwrite,
    )


def opened(model: str, lora: str | None, dtype: str, device: str):
    """A pipeline of this job, silent."""
    pipeline = open_pipeline(model, lora=lora, dtype=DTYPES[dtype], device=device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def model_name(model: str, lora: str | None) -> str:
    """What the record calls the model: the folder's name alone, since a path tells about its owner."""
    name = "pigment-embedded-base" if model == EMBEDDED else Path(model).resolve().name if Path(model).exists() else model
    return name if lora is None else f"{name}+{Path(lora).name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    args = parser().parse_args(argv)
    quieten()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job = None
    started = time.monotonic()
    try:
        job = prepare(args, read_prompts(args.prompt, args.prompts))
        with Progress(len(job.missing) * args.candidates, "candidates") as progress:
            job.draw(batch=args.batch, drawn=progress.advance)
        sheets, unwritten = job.write_sheets(args.font)
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)
    except KeyboardInterrupt:
        there = 0 if job is None else len(job.made) - len(job.empty())
        return say(f"interrupted; {there} prompts have their pictures in {args.out}. The same command goes on.", EXIT_INTERRUPTED)
    empty = job.empty()
    sys.stdout.write("\n".join(summary(job, args, sheets, unwritten, empty, progress, time.monotonic() - started)) + "\n")
    return EXIT_EMPTY if empty else EXIT_DONE


def summary(
    job: Job,
    args: argparse.Namespace,
    sheets: Sequence[Path],
    unwritten: Sequence[int],
    empty: Sequence[int],
    progress: Progress,
    seconds: float,
) -> list[str]:
    """The last screen."""
    settings, kept = job.settings, sum(len(job.index.lines.get(number, ())) for number in job.made)
    drawn = f"{progress.done:,} candidates at {progress.rate():.2f}/s, " if progress.done else ""
    lines = [
        f"model      {job.model.name}, weights {job.model.digest}; {settings.sampler}, {settings.steps} steps, seed {settings.seed}",
        f"prompts    {len(job.made):,}, of which {len(job.made) - len(job.missing):,} were there; {drawn}{duration(seconds)} in all",
        f"pictures   {kept:,} in {args.out}/pictures",
        f"index      {job.index.path}",
        f"sheet      {', '.join(map(str, sheets)) or 'none'}",
    ]
    if empty:
        lines.append(f"no picture {len(empty)} prompts, whose candidates the safety checker blanked all: {', '.join(map(str, empty[:10]))}")
    if unwritten:
        lines.append(
            f"captions   {len(unwritten)} prompts have letters that no font here has; install one (for Korean: fonts-nanum) or give --font FILE,"
        )
        lines.append("           and type the same command: it only draws the sheet")
    return [*lines, f"next       look at the sheet; another draw: --seed {settings.seed + 1} --out {args.out}-{settings.seed + 1}"]


if __name__ == "__main__":
    sys.exit(main())
