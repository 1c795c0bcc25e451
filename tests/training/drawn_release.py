"""A small published release of drawings whose captions say what is drawn: one large disc of a colour on another."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from PIL import Image, ImageDraw

from pipelines.tar import TarWriter
from schemas.columns import table_of
from schemas.release import INDEX, Release
from schemas.store import Store

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple")
SHARDS = 2


def drawing(disc: str, ground: str) -> bytes:
    image = Image.new("RGB", (32, 32), ground)
    ImageDraw.Draw(image).ellipse((4, 4, 27, 27), fill=disc)
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


def make_drawn_release(
    root: Path, *, colours: Sequence[str] = COLOURS, licenses: Mapping[str, int] | None = None, disallowed: int = 0
) -> Path:
    """Every colour on every other, 56 pairs of eight, in two shards.

    licenses: what the manifest counts. disallowed: how many files of a shard forbid mining.
    """
    root.mkdir(parents=True, exist_ok=True)
    release = Release(Store(root), "drawn")
    pairs = [(disc, ground) for disc in colours for ground in colours if disc != ground]
    for shard in range(SHARDS):
        rows, local = [], root / "local.tar"
        with TarWriter(local) as tar:
            for disc, ground in pairs[shard::SHARDS]:
                caption, data = f"a {disc} disc on {ground}", drawing(disc, ground)
                uid = hashlib.sha256(caption.encode()).hexdigest()[:32]
                offset = tar.add(f"{uid}.png", data)
                tar.add(f"{uid}.txt", caption.encode())
                tar.add(f"{uid}.json", json.dumps({"uid": uid}).encode())
                rows.append({"uid": uid, "member": f"{uid}.png", "offset": offset, "size": len(data), "width": 32, "height": 32,
                             "caption": caption})  # fmt: skip
        mining = pa.array(["disallowed"] * disallowed + [None] * (len(rows) - disallowed), pa.string())
        release.put_shard(shard, local, table_of(rows, INDEX).append_column("evidence.mining", mining), sha256=tar.close())
        local.unlink()
    counts = {"public-domain": len(pairs)} if licenses is None else dict(licenses)
    release.put_manifest({"digest": "d" * 64, "licenses": counts,
                          "counts": {"rows": len(pairs), "keep": len(pairs), "review": 0, "drop": 0},
                          "policy": {"name": "drawn", "rules": []}, "policy_digest": "p" * 64, "funnel": {"reasons": {}},
                          "shards": [{"shard": shard} for shard in range(SHARDS)]})  # fmt: skip
    return root
