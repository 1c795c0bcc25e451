"""What ends a process by a real crash of native code, at bytes that hold MARK; for processes of their own, never for that of the tests.

As a scorer of the user's: `--scorer tests.crashing:Crashes`. As a decoder: a folder that :func:`put_decoder` filled, on PYTHONPATH.
"""

import ctypes
import io
from pathlib import Path
from typing import Final

import pyarrow as pa
from PIL import Image

from quality.scorers.batch import PairBatch
from schemas.columns import field

MARK: Final = b"this picture is a trap"


def trap(shade: int = 0) -> bytes:
    """A JPEG that decodes everywhere else."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 90, 40)).save(file, "jpeg", comment=MARK)
    return file.getvalue()


class Crashes:
    """The length of captions and of bytes, up to the first trap."""

    name, version, needs = "lengths", "1", ()
    fields = pa.schema(
        [
            field("caption", pa.int32(), meaning="characters of the caption", range=(0, None)),
            field("bytes", pa.int32(), meaning="of the stored file", range=(0, None)),
        ]
    )

    def load(self) -> None:
        pass

    def score(self, batch: PairBatch) -> pa.RecordBatch:
        if any(data is not None and MARK in data for data in batch.data):
            ctypes.string_at(0)
        return pa.record_batch(
            [pa.array([None if value is None else len(value) for value in values], pa.int32()) for values in (batch.captions, batch.data)],
            schema=self.fields,
        )


DECODER: Final = f"""
import ctypes
import simplejpeg

def decode_jpeg(data, *args, whole=simplejpeg.decode_jpeg, **options):
    if {MARK!r} in bytes(data):
        ctypes.string_at(0)
    return whole(data, *args, **options)

simplejpeg.decode_jpeg = decode_jpeg
"""


HANGING_DECODER: Final = f"""
import sys
import time
import simplejpeg

if "apache_beam" in " ".join(sys.orig_argv) or "pipelines.lifelines" in " ".join(sys.orig_argv):  # the processes that work
    import pipelines.fetch.taker as taker
    taker.SECONDS, taker.LOOK_S = 4.0, 0.5

def decode_jpeg(data, *args, whole=simplejpeg.decode_jpeg, **options):
    if {MARK!r} in bytes(data):
        time.sleep(3600)
    return whole(data, *args, **options)

simplejpeg.decode_jpeg = decode_jpeg
"""


def put_decoder(folder: Path) -> str:
    """Makes every Python that starts with the folder on PYTHONPATH decode JPEGs by a decoder that crashes at traps; returns the folder."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DECODER)
    return str(folder)
