"""A folder that is there whole or not at all: it is filled beside its place, under a hidden name, and renamed when it is done."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipelines.options import UsageError

MARK: Final = "export.json"  # what an export says of itself, written last; without it a folder is none of ours


@contextlib.contextmanager
def whole(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """The folder to fill. It becomes `out` where the block ends without an exception; else nothing is left of it.

    What a killed export left is removed by the next. Raises UsageError where something stands at `out`: an export may be overwritten, where
    told; anything else never is.
    """
    out = Path(os.path.abspath(out))
    _check(out, overwrite=overwrite)
    part, old = out.with_name(f".{out.name}.exporting"), out.with_name(f".{out.name}.replaced")
    try:
        part.mkdir(parents=True, exist_ok=True)
        lock = os.open(part, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"--out {out}: another export is writing it; wait for it, or give another folder") from error
        _empty(part)
        try:
            yield part
            _check(out, overwrite=overwrite)
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            part.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def put_mark(folder: Path, told: dict[str, Any]) -> None:
    """Writes export.json: what is told, and how many files of how many bytes there are beside it."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    told = {**told, "files": len(sizes), "bytes": sum(sizes)}
    (folder / MARK).write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def _check(out: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(out) or (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        return
    if out.is_symlink() or not (out / MARK).is_file():
        raise UsageError(f"--out {out}: there is something that is no export; give a folder that is not there yet")
    if not overwrite:
        raise UsageError(f"--out {out}: an export stands there; give another folder, or --overwrite to put this one in its place")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
