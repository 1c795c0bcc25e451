"""Block lists on disk, and environments that name them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from quality.block_lists import ENVIRONMENT, BlockLists, read_lists


def write_lists(folder: Path, lists: Mapping[str, Sequence[str]]) -> Path:
    """One file a list, as `lists` names them: md5, sha1, sha256, pdq, urls, url_md5, url_sha256, domains."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(["# a list", "", *lines, ""]), "utf-8")
    return folder


def lists_of(folder: Path, **lists: Sequence[str]) -> BlockLists:
    return read_lists(None, {ENVIRONMENT: str(write_lists(folder, lists))})
