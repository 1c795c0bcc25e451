"""The corpus that tests of training read."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """The sample with its splits dealt anew: it has no pair to train on."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "images").symlink_to(SAMPLE / "images")
    with open(SAMPLE / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    for index, row in enumerate(rows):
        row["split"] = ("train", "train", "validation", "heldout")[index % 4]
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
    return folder
