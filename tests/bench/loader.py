"""The training loader against webdataset with PIL: images a second, first batch, memory.

    python -m tests.bench.loader [--samples 6000] [--json]

A release of photograph-like JPEGs of 768 x 576 is read to squares of 64, 256 and 512 pixels by both, with two workers each: ours has two
threads; the peer is webdataset in a torch DataLoader of two processes, PIL, resize and centre crop, as its users write it, and once more
with Pillow's scaled decoding (`draft`).
Rates are of the second part of the samples: neither start counts. Then a release of 1,000 shards: seconds from opening to the first batch,
and resident memory after reading every sample of 10 and of 1,000 shards that hold the same samples.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import webdataset as wds
from PIL import Image

from pipelines.tar import TarWriter
from schemas.columns import table_of
from schemas.release import INDEX, Release
from schemas.store import Store
from tests.bench.convert import photo_like
from training.releases import open_release
from training.shards import Loader

WORKERS: Final = 2
BATCH: Final = 32
SIDES: Final = (768, 576)
SIZES: Final = {64: 4.0, 256: 2.0, 512: 2.0}  # pixels: goal, times the peer
DISTINCT: Final = 64  # images
IMAGE_BYTES: Final = 75_000


def make_release(root: Path, images: list[bytes], *, samples: int, shards: int) -> Path:
    """A published release of the bench's own: tars and indexes as WriteShards writes them, a manifest that names them."""
    root.mkdir()
    release = Release(Store(root), "bench")
    manifest: dict[str, Any] = {"licenses": {"attribution": samples}, "shards": [], "counts": {"keep": samples}}
    for shard in range(shards):
        rows = []
        local = root / "local.tar"
        with TarWriter(local) as tar:
            for number in range(shard, samples, shards):
                uid, data = hashlib.sha256(str(number).encode()).hexdigest()[:32], images[number % len(images)]
                offset = tar.add(f"{uid}.jpg", data)
                tar.add(f"{uid}.txt", f"a picture of something, number {number}".encode())
                tar.add(f"{uid}.json", json.dumps({"uid": uid}).encode())
                rows.append({"uid": uid, "member": f"{uid}.jpg", "offset": offset, "size": len(data), "width": SIDES[0], "height": SIDES[1],
                             "caption": f"a picture of something, number {number}"})  # fmt: skip
        release.put_shard(shard, local, table_of(rows, INDEX), sha256=tar.close())
        local.unlink()
        manifest["shards"].append({"shard": shard})
    release.put_manifest(manifest)
    return root


def ours(root: Path, size: int) -> Iterator[int]:
    for batch in Loader(open_release(root, optouts=False), size=size, batch=BATCH, threads=WORKERS, largest_aspect=1.0):
        yield len(batch.images)


def peer(root: Path, size: int, *, draft: bool = False) -> Iterator[int]:
    """draft: Pillow's scaled decoding, which few pipelines ask for."""

    def opened(sample: dict[str, bytes]) -> tuple[torch.Tensor, str]:
        image = Image.open(io.BytesIO(sample["jpg"]))
        if draft:
            image.draft("RGB", (size, size))
        scale = size / min(image.size)
        sides = max(size, round(image.width * scale)), max(size, round(image.height * scale))
        image = image.convert("RGB").resize(sides, Image.Resampling.BILINEAR)
        left, top = (image.width - size) // 2, (image.height - size) // 2
        pixels = np.asarray(image.crop((left, top, left + size, top + size)))
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), sample["txt"].decode()

    urls = sorted(str(path) for path in root.glob("releases/bench/shards/*.tar"))
    rows = wds.WebDataset(urls, shardshuffle=len(urls), seed=1, empty_check=False).shuffle(1000).map(opened).batched(BATCH)
    while True:
        for images, _ in torch.utils.data.DataLoader(rows, batch_size=None, num_workers=WORKERS):
            yield len(images)


def rate(batches: Iterator[int], samples: int) -> float:
    """Images a second of the second half."""
    taken = 0
    for count in batches:
        taken += count
        if taken >= samples // 2:
            break
    start, taken = time.perf_counter(), 0
    for count in batches:
        taken += count
        if taken >= samples // 2:
            return taken / (time.perf_counter() - start)
    raise AssertionError("endless")


def first_batch(root: Path) -> float:
    start = time.perf_counter()
    next(iter(Loader(open_release(root, optouts=False), size=64, batch=BATCH)))
    return time.perf_counter() - start


def memory(root: Path, samples: int) -> int:
    """Bytes that this process holds privately more after an epoch, measured in a process of its own."""
    code = (
        "import itertools, psutil, sys; from tests.bench.loader import ours; from pathlib import Path; import torch\n"
        "process = psutil.Process(); before = process.memory_full_info().uss\n"
        f"list(itertools.islice(ours(Path({str(root)!r}), 64), {samples // BATCH}))\n"
        "print(process.memory_full_info().uss - before)"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()[-1])


def measure(samples: int) -> dict[str, Any]:
    images = [photo_like(seed, SIDES, IMAGE_BYTES) for seed in range(DISTINCT)]
    with tempfile.TemporaryDirectory() as folder:
        few = make_release(Path(folder, "few"), images, samples=samples, shards=10)
        found: dict[str, Any] = {"samples": samples, "bytes_an_image": round(float(np.mean([len(image) for image in images])))}
        for size in SIZES:
            mine, theirs, drafted = (rate(of, samples) for of in (ours(few, size), peer(few, size), peer(few, size, draft=True)))
            rates = {"ours": round(mine), "webdataset": round(theirs), "with_draft": round(drafted)}
            found[f"images_per_second_{size}"] = {**rates, "ratio": round(mine / theirs, 2), "ratio_to_draft": round(mine / drafted, 2)}
        many = make_release(Path(folder, "many"), images, samples=samples, shards=1000)
        found["first_batch_of_1000_shards_s"] = round(first_batch(many), 2)
        found["memory_mb"] = {shards: round(memory(root, samples) / 1e6, 1) for shards, root in ((10, few), (1000, many))}
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.samples)
    if args.json:
        print(json.dumps(found))
        return
    print(f"{found['samples']:,} JPEGs of {SIDES[0]}x{SIDES[1]}, {found['bytes_an_image']:,} bytes on average")
    print(f"{'images/s':<12}{'ours':>8}{'webdataset':>12}{'with draft':>12}{'ratio':>8}")
    for size, goal in SIZES.items():
        row = found[f"images_per_second_{size}"]
        print(f"{size:>4} px     {row['ours']:>8,}{row['webdataset']:>12,}{row['with_draft']:>12,}{row['ratio']:>8.2f}   at least {goal:g}")
    print(f"first batch of 1,000 shards: {found['first_batch_of_1000_shards_s']} s   below 2")
    print("memory for an epoch, MB: " + ", ".join(f"{size} with {shards:,} shards" for shards, size in found["memory_mb"].items()))


if __name__ == "__main__":
    main()
