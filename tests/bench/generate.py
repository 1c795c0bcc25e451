"""Pictures a second by the embedded base, and where the time goes.

    python -m tests.bench.generate [--model embedded] [--pictures 256] [--some 32] [--threads 2] [--json]

First what each measure brings, on `--some` pictures each, one after the other: one call a picture, batches, each text encoded once for its
candidates, channels-last weights, torch's inference mode, and, for ranking, torch against the engine that is used. Then `--pictures` of them,
8 candidates a prompt, ranked, as `training.generate` draws them, with the share of the time of text encoder, denoiser, decoder and ranking.

The published figure beside it, EXAONE's 256 pictures in 7 minutes (0.61 a second), is of pictures of up to 2048 px on accelerators: no like for
like. Ours are 64 px, some thousandth of the pixels.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from training.checkpoints import open_pipeline
from training.generate import pictures
from training.generation.ranking import Ranker

PUBLISHED: Final = 256 / (7 * 60)
CANDIDATES: Final = 8
TEXTS: Final = (
    "a cute cat, watercolour",
    "귀여운 고양이 수채화",
    "a red fish",
    "빨간 물고기",
    "a house by the sea",
    "바닷가의 집",
    "smiling face",
    "웃는 얼굴",
)


def texts(count: int) -> list[str]:
    return [TEXTS[number % len(TEXTS)] for number in range(count)]


@contextmanager
def timed(modules: dict[str, torch.nn.Module], spent: Counter[str]) -> Iterator[None]:
    """Adds the seconds within each module's forward to `spent`, by name."""
    began: dict[str, float] = {}

    def start(name: str) -> Callable:
        return lambda *_: began.__setitem__(name, time.perf_counter())

    def stop(name: str) -> Callable:
        return lambda *_: spent.update({name: time.perf_counter() - began[name]})

    hooks = [module.register_forward_pre_hook(start(name)) for name, module in modules.items()]
    hooks += [module.register_forward_hook(stop(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class TimedRanker:
    """A ranker that adds its seconds to `spent`."""

    def __init__(self, ranker: Ranker, spent: Counter[str]):
        self.ranker, self.spent = ranker, spent

    def similarity(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        began = time.perf_counter()
        found = self.ranker.similarity(images, prompts)
        self.spent["ranking"] += time.perf_counter() - began
        return found


def seconds(draw: Callable[[], Iterator]) -> float:
    began = time.perf_counter()
    for _ in draw():
        pass
    return time.perf_counter() - began


def variants(pipeline: Any, some: int, steps: int) -> dict[str, float]:
    """Pictures a second of each way to draw `some`."""
    found: dict[str, float] = {}

    def measure(name: str, *, batch: int, together: bool, mode: Callable = nullcontext) -> None:
        prompts, candidates = (texts(some // CANDIDATES), CANDIDATES) if together else (texts(some), 1)
        with mode():
            took = seconds(lambda: pictures(pipeline, prompts, steps=steps, batch=batch, candidates=candidates, keep=candidates))
        found[name] = some / took

    measure("one call a picture", batch=1, together=False)
    measure("batches of 16", batch=16, together=False)
    for batch in (8, 16, 32):
        measure(f"batches of {batch}, a text once", batch=batch, together=True)
    for module in (pipeline.unet, pipeline.vae):
        module.to(memory_format=torch.channels_last)
    measure("and channels last", batch=16, together=True)
    measure("and inference mode", batch=16, together=True, mode=torch.inference_mode)
    for module in (pipeline.unet, pipeline.vae):
        module.to(memory_format=torch.contiguous_format)
    measure("batches of 16, a text once, again", batch=16, together=True)  # how far the machine drifted
    return found


def rankings(count: int) -> dict[str, float]:
    """Pictures ranked a second by the embedded CLIP model on torch and on the engine that is used."""
    ranker = Ranker()
    drawn = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    images, prompts = [Image.fromarray(pixels) for pixels in drawn], texts(count)
    ranker.similarity(images[:1], prompts)
    found = {}
    for name, encode in (("torch", ranker.clip.on_torch), ("used", ranker.clip.on_openvino())):
        ranker.clip.images = encode  # type: ignore[method-assign]
        began = time.perf_counter()
        ranker.similarity(images, prompts)
        found[name] = count / (time.perf_counter() - began)
    return found


def whole(pipeline: Any, count: int, steps: int) -> dict[str, Any]:
    """`count` candidates as the command draws them; share: of the wall time, by part."""
    spent: Counter[str] = Counter()
    ranker = TimedRanker(Ranker(), spent)
    parts = {"text encoder": pipeline.text_encoder, "denoiser": pipeline.unet, "decoder": pipeline.vae.decoder}
    with timed(parts, spent):
        took = seconds(lambda: pictures(pipeline, texts(count // CANDIDATES), steps=steps, batch=16, candidates=CANDIDATES, ranker=ranker))
    share = {name: spent[name] / took for name in (*parts, "ranking")}
    return {"pictures": count, "seconds": took, "rate": count / took, "share": share | {"everything else": 1 - sum(share.values())}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="a pipeline with a U-Net (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--some", type=int, default=32, help="for each variant (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = open_pipeline(args.model)
    pipeline.set_progress_bar_config(disable=True)
    found = {
        "model": args.model,
        "steps": args.steps,
        "threads": args.threads,
        "variants": variants(pipeline, args.some, args.steps),
        "ranking": rankings(args.some),
        "whole": whole(pipeline, args.pictures, args.steps),
    }
    if args.json:
        print(json.dumps(found))
        return 0
    print(f"{args.model}, {args.steps} steps, {args.threads} threads; pictures a second of {args.some} each")
    for name, rate in found["variants"].items():
        print(f"  {name:<36}{rate:8.2f}")
    print("ranked a second: " + ", ".join(f"{name} {rate:.1f}" for name, rate in found["ranking"].items()))
    all_of_it = found["whole"]
    print(
        f"{all_of_it['pictures']} candidates, {CANDIDATES} a prompt, ranked: {all_of_it['seconds']:.0f} s, {all_of_it['rate']:.2f} a second"
    )
    print("  " + ", ".join(f"{name} {share:.0%}" for name, share in all_of_it["share"].items()))
    print(f"EXAONE, published: {PUBLISHED:.2f} a second, of up to 2048 px on accelerators: a thousand times the pixels, no like for like")
    return 0


if __name__ == "__main__":
    sys.exit(main())
