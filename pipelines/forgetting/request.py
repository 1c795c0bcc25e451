"""From a file of ids to what a removal names: one id a line. Messages name file and line, and never what stands there."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.options import UsageError
from quality.block_lists.keys import creator_key, domain_key, url_key
from quality.block_lists.read import domain_entry, url_entry
from quality.urls import BadUrl

Entry = tuple[str, bytes]  # kind and value, as schemas.removals.KINDS has them


@dataclass(frozen=True)
class Named:
    """What a file names. lines: the entry of each line that has one, by its number, from 1. empty: the numbers of lines without one."""

    path: str
    lines: Mapping[int, Entry]
    empty: tuple[int, ...]

    @property
    def entries(self) -> dict[str, frozenset[bytes]]:
        found = dict[str, set[bytes]]()
        for kind, value in self.lines.values():
            found.setdefault(kind, set()).add(value)
        return {kind: frozenset(values) for kind, values in sorted(found.items())}


def read_ids(path: str, flag: str) -> Named:
    """The ids of a file, of the kind that `flag` says: a word of FLAGS. Raises UsageError for a line that is none, and a file without any."""
    what, parse = FLAGS[flag]
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise UsageError(f"--{flag} {path}: {error.strerror}; nothing was removed") from error
    found, empty = dict[int, Entry](), list[int]()
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode().strip()
            if text:
                found[number] = parse(text)
            else:
                empty.append(number)
        except (ValueError, BadUrl):  # UnicodeDecodeError is a ValueError
            raise UsageError(f"--{flag} {path}, line {number}: not {what}; nothing was removed") from None
    if not found:
        raise UsageError(f"--{flag} {path}: {len(lines)} lines, and none that names anything; give one id a line")
    return Named(path, found, tuple(empty))


def _uid(text: str) -> Entry:
    if re.fullmatch(r"[0-9A-Fa-f]{32}", text) is None:
        raise ValueError
    return "uid", bytes.fromhex(text)


def _hash(text: str) -> Entry:
    match = re.fullmatch(r"(?:(sha256|pdq):)?([0-9A-Fa-f]{64})", text)
    if match is None:
        raise ValueError
    return match[1] or "sha256", bytes.fromhex(match[2])


def _url(text: str) -> Entry:
    url_entry(text)  # refuses what is none
    return url_key(text if "://" in text else f"http://{text}")


def _domain(text: str) -> Entry:
    return "domain_sha256", domain_key(domain_entry(text))


def _creator(text: str) -> Entry:
    return "creator_sha256", creator_key(text)


# Flag: what a line is, and its parser.
FLAGS: Final[dict[str, tuple[str, Callable[[str], Entry]]]] = {
    "uids": ("a uid of 32 hex digits", _uid),
    "urls": ("a url of http or https", _url),
    "hashes": ("a SHA-256 in 64 hex digits, or pdq: and a PDQ hash in 64", _hash),
    "domains": ("a domain name", _domain),
    "creators": ("a creator's name", _creator),
}
