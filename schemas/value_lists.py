"""Value lists: files that a policy's rule names, such as DataComp's uids or the captions of an evaluation set.

Text, UTF-8: one value a line; white space around it and empty lines do not count. `.npy`: DataComp's subset files, an array of dtype
"u8,u8", each a 128-bit id as (upper, lower) half; as text it is 32 hex digits. A list of nothing but such ids is one, in either format.
What a policy keeps of a file is the digest of its values: the same values give the same release wherever the file lies, whatever its
order or format, and a stored policy can be read when the file is gone.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

UIDS: Final = np.dtype("u8,u8")  # DataComp, baselines/apply_filter.py; its resharder reads the same


class ListError(Exception):
    """A list cannot be read, or has changed; the message says which, and why."""


@dataclass(frozen=True)
class ValueList:
    """The values of a file. digest: SHA-256 over the distinct values in order. values: how many.

    path: every process that decides reads it, on remote workers too; None in a policy that was read from a run.
    """

    digest: str
    values: int
    path: str | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """What a run stores: neither values nor path."""
        return {"digest": self.digest, "values": self.values}

    def read(self) -> np.ndarray | list[str]:
        """The distinct values in order: ids as :func:`ids_of` gives them, all else as text.

        Raises ListError when the file is not at hand or is another one by now.
        """
        if self.path is None:
            raise ListError(f"the list {self.digest[:12]} of {self.values:,} values is not at hand: a run stores only its digest")
        values = _distinct(self.path)
        if _digest(values) != self.digest:
            raise ListError(f"{self.path}: the list has changed since the policy was read; run the command again")
        return values


def find_list(path: str | Path) -> ValueList:
    """The list in a file. Raises ListError when there is none, or it is empty or in another format."""
    values = _distinct(path)
    return ValueList(_digest(values), len(values), os.path.abspath(path))


def ids_of(texts: Sequence[str]) -> np.ndarray | None:
    """Ids of 32 hex digits each as upper and lower half, uint64 (n, 2); None when any is of another form."""
    if any(len(text) != 32 for text in texts):
        return None
    try:
        data = bytes.fromhex("".join(texts))
    except ValueError:
        return None
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64) if len(data) == 16 * len(texts) else None


def write_ids(texts: Sequence[str], path: str | Path) -> int:
    """Writes ids of 32 hex digits as DataComp's sorted array, each once; returns how many. Raises ListError for an id of another form."""
    ids = ids_of(texts)
    if ids is None:
        raise ListError(f"{next(text for text in texts if ids_of([text]) is None)!r} is no id of 32 hex digits, as DataComp's are")
    ids = _distinct_ids(ids)
    array = np.empty(len(ids), UIDS)
    array["f0"], array["f1"] = ids[:, 0], ids[:, 1]
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
    return len(array)


def _distinct(path: str | Path) -> np.ndarray | list[str]:
    try:
        found = _of_array(path) if str(path).endswith(".npy") else _of_lines(Path(path).read_text("utf-8-sig").split("\n"))
    except OSError as error:
        raise ListError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ListError(f"{path}: not UTF-8: {error}") from error
    if len(found) == 0:
        raise ListError(f"{path}: no value in it")
    return found


def _of_array(path: str | Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)  # np.load takes other formats too
    except ValueError as error:
        raise ListError(f"{path}: not a NumPy array: {error}") from error
    if array.dtype != UIDS or array.ndim != 1:
        raise ListError(f"{path}: an array of {array.dtype} with {array.ndim} dimensions; DataComp's have dtype u8,u8 and one")
    return _distinct_ids(np.stack([array["f0"], array["f1"]], axis=1))


def _of_lines(lines: Sequence[str]) -> np.ndarray | list[str]:
    values = [value for line in lines if (value := line.strip())]
    ids = ids_of(values)
    return sorted(set(values)) if ids is None else _distinct_ids(ids)


def _distinct_ids(ids: np.ndarray) -> np.ndarray:
    ordered = ids[np.lexsort((ids[:, 1], ids[:, 0]))]
    return ordered[np.r_[np.ones(min(len(ids), 1), bool), (ordered[1:] != ordered[:-1]).any(axis=1)]]


def _digest(values: np.ndarray | list[str]) -> str:
    if isinstance(values, np.ndarray):
        return hashlib.sha256(b"ids" + values.astype(">u8").tobytes()).hexdigest()
    hasher = hashlib.sha256(b"texts")
    for value in values:
        data = value.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big") + data)
    return hasher.hexdigest()
