"""Layouts that other tools read, made from a published release. `python -m pipelines.export --help` says which.

    whole.py     a folder that is there whole or not at all
    pictures.py  with images: Hugging Face's imagefolder, WebDataset and Parquet
    lists.py     without images: LAION's metadata, img2dataset's url list, DataComp's ids

Each is a function of an Export, a folder and a `tell`, which is called with the pairs that each shard has added. Memory holds a shard's index
and a window of its images. Pairs that are on a block list now are left out, and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from quality.documents.facts import Facts
from quality.kept import Kept

Tell = Callable[[int], None]
PLACES: Final = ("member", "offset", "size", "unit", "row")  # columns of an index about the release's own files


@dataclass(frozen=True)
class Export:
    """What is exported. csv: whether lists are CSV and not Parquet, and the metadata of an imagefolder CSV and not JSON."""

    kept: Kept
    facts: Facts
    csv: bool = False

    @property
    def columns(self) -> list[pa.Field]:
        """What is told of a pair beside image and caption: the indexes' columns but for PLACES."""
        return [field for field in self.facts.schema if field.name not in (*PLACES, "caption")]


def told(value: Any) -> Any:
    """A value as JSON can hold it; NaN is null."""
    return None if isinstance(value, float) and value != value else value
