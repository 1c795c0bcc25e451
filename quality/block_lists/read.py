"""From files to block lists. Messages name file and line, and never what stands there."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from quality.block_lists.match import BlockLists
from quality.urls import BadUrl, canonical, url_of
from schemas.removals import removed_entries, union_of
from schemas.store import Store

ENVIRONMENT: Final = "PIGMENT_BLOCK_LISTS"
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")  # a '#' inside an entry begins a url's fragment
_OTHER: Final = re.compile(r"[\s/?@:#\[\]]")  # what no domain holds


class BlockListError(Exception):
    """Block lists cannot be used as they are; the message says which file and line, and holds nothing of the line."""


def lists_here(digest: str | None, store: Store | None, environment: Mapping[str, str] = os.environ) -> BlockLists:
    """This process's block lists, which must be those of the launcher. digest: the launcher's `BlockLists.digest`. Raises BlockListError."""
    lists = read_lists(store, environment)
    if lists.digest != digest:
        raise BlockListError(
            f"the block lists of this worker are not those that the job was started with; {ENVIRONMENT} must name the same lists on every "
            "worker, and they must not change while the job runs, nor may anything be removed from the dataset"
        )
    return lists


def read_lists(store: Store | None, environment: Mapping[str, str] = os.environ) -> BlockLists:
    """The lists in the folder that PIGMENT_BLOCK_LISTS names, and what was removed from the dataset at `store` (schemas.removals).

    store: None where no dataset is meant. Raises BlockListError.
    """
    removed = {} if store is None else removed_entries(store)
    return BlockLists(union_of([_folder(environment), removed]), dataset=store.root if store is not None and removed else None)


def _folder(environment: Mapping[str, str]) -> dict[str, frozenset[bytes]]:
    """Entries by kind; none where the variable is not set. One entry a line; blank lines and comments from `#` are passed over. Files that begin
    with a dot or README are no lists."""
    named = environment.get(ENVIRONMENT)
    if named is None:
        return {}
    if not named:
        raise BlockListError(f"{ENVIRONMENT} is set and empty; name the folder of the block lists, or unset it")
    try:
        paths = sorted(path for path in Path(named).iterdir() if not path.name.startswith((".", "README")))
    except OSError as error:
        raise BlockListError(f"{ENVIRONMENT} names {named}: {error.strerror}; nothing is done without its lists") from error
    unknown = [path.name for path in paths if path.name not in _FILES]
    if unknown or not paths:
        there = f"{named}/{unknown[0]} is no list that pigment knows" if unknown else f"{named} holds no list"
        raise BlockListError(f"{there}; lists are {', '.join(_FILES)}")
    found: dict[str, set[bytes]] = {}
    for path in paths:
        kind, what, parse = _FILES[path.name]
        found.setdefault(kind, set()).update(_entries(path, what, parse))
    return {kind: frozenset(entries) for kind, entries in found.items()}


def _entries(path: Path, what: str, parse: Callable[[str], bytes]) -> set[bytes]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise BlockListError(f"block list {path}: {error.strerror}; nothing is done without it") from error
    entries = set[bytes]()
    for number, line in enumerate(lines, 1):
        try:
            text = _COMMENT.sub("", line.decode()).strip()
            if text:
                entries.add(parse(text))
        except (ValueError, BadUrl):  # UnicodeDecodeError is a ValueError
            raise BlockListError(f"block list {path}, line {number}: not {what}; nothing is done with a list that is broken") from None
    return entries


def _digest_of(size: int) -> Callable[[str], bytes]:
    """A parser of `size` bytes in hex, of either case."""

    def parse(text: str) -> bytes:
        if len(text) != 2 * size:
            raise ValueError
        return bytes.fromhex(text)

    return parse


def url_entry(text: str) -> bytes:
    """SHA-256 of the canonical form: from here on not even memory holds the url."""
    if re.search(r"\s", text):
        raise ValueError
    return hashlib.sha256(canonical(url_of(text if "://" in text else f"http://{text}")).encode()).digest()


def domain_entry(text: str) -> bytes:
    """The name as requests have it: lower case, IDNA, without dots around it. `*.` before it says what holds anyway."""
    name = text.removeprefix("*").strip(".")
    if _OTHER.search(name):
        raise ValueError
    return (url_of(f"http://{name}/").raw_host or "").encode()


# File name: kind of BlockLists, what a line is, its parser.
_FILES: Final[dict[str, tuple[str, str, Callable[[str], bytes]]]] = {
    "md5.txt": ("md5", "an MD5 in 32 hex digits", _digest_of(16)),
    "sha1.txt": ("sha1", "a SHA-1 in 40 hex digits", _digest_of(20)),
    "sha256.txt": ("sha256", "a SHA-256 in 64 hex digits", _digest_of(32)),
    "pdq.txt": ("pdq", "a PDQ hash in 64 hex digits", _digest_of(32)),
    "urls.txt": ("url", "a url of http or https", url_entry),
    "url_md5.txt": ("url_md5", "an MD5 in 32 hex digits", _digest_of(16)),
    "url_sha256.txt": ("url_sha256", "a SHA-256 in 64 hex digits", _digest_of(32)),
    "domains.txt": ("domain", "a domain name", domain_entry),
}
