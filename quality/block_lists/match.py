"""What is on a list: urls and hosts before a request, bytes before decoding, pictures after it, and columns of a pool."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from yarl import URL

from quality.block_lists.keys import creator_key, domain_key, lenient, parents
from quality.near.listed import NearList
from quality.near_duplicates import QUALITY
from quality.urls import canonical
from schemas.digest import digest_of_json

Kind = Literal["domain", "url", "uid", "creator", "md5", "sha1", "sha256", "pdq"]  # in the order in which lists are asked
URL_COLUMNS: Final = ("url", "final_url", "source_page")
SHA256_COLUMNS: Final = ("sha256", "expected_sha256")  # measured, and what the source says
STORED_COLUMNS: Final = (
    *URL_COLUMNS,
    *SHA256_COLUMNS,
    "uid",
    "creator",
    "image.pdq",
    "image.pdq_quality",
)  # of a pool, that a list can be held against


class BlockLists:
    """The entries of all lists, by kind: raw digests (md5 sha1 sha256 pdq url_md5 url_sha256), SHA-256 of canonical urls (url), names (domain),
    and what a dataset's removals hold besides (schemas.removals.KINDS).

    digest: SHA-256 over all of them, the only thing that may be stored; None where there is no entry. dataset: the root of the dataset whose
    removals are among them.
    """

    def __init__(self, entries: Mapping[str, frozenset[bytes]], *, dataset: str | None = None):
        self.dataset = dataset
        self._entries = {kind: found for kind, found in entries.items() if found}
        self._pdq = NearList(_rows(sorted(self._entries["pdq"]))) if "pdq" in self._entries else None
        told = {kind: [entry.hex() for entry in sorted(found)] for kind, found in self._entries.items()}
        self.digest = digest_of_json(["pigment block lists", told]) if told else None

    def __repr__(self) -> str:
        return f"BlockLists({', '.join(f'{kind}: {len(found)}' for kind, found in sorted(self._entries.items()))})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("block lists are read where they are applied; they are never sent or stored")

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def decodes(self) -> bool:
        """Whether a picture's pixels are needed."""
        return self._pdq is not None

    @property
    def fetches_only(self) -> bool:
        """Whether there are lists that no stored column can be held against: MD5 and SHA-1 of bytes."""
        return bool({"md5", "sha1"} & self._entries.keys())

    def kind_of_url(self, text: str) -> Kind | None:
        """The list that an address is on. A domain covers its subdomains; a url is compared in canonical form, and as it is written.

        Text that cannot be asked for, such as one with a user's name in it, is judged by the host and path it names.
        """
        if not self._entries.keys() & {"domain", "domain_sha256", "url", "url_md5", "url_sha256"}:
            return None
        url = lenient(text)
        if url is not None and any(self._is_domain(name) for name in parents(url.raw_host or "")):
            return "domain"
        if url is not None and hashlib.sha256(canonical(url).encode()).digest() in self._of("url"):
            return "url"
        if not self._entries.keys() & {"url_md5", "url_sha256"}:
            return None
        for form in _forms(text, url):
            data = form.encode("utf-8", "surrogatepass")
            if hashlib.sha256(data).digest() in self._of("url_sha256"):
                return "url"
            if hashlib.md5(data, usedforsecurity=False).digest() in self._of("url_md5"):
                return "url"
        return None

    def kind_of_uid(self, text: str) -> Kind | None:
        """`uid` for the identity of a pair that was removed."""
        try:
            return "uid" if bytes.fromhex(text) in self._of("uid") else None
        except ValueError:
            return None

    def kind_of_creator(self, name: str) -> Kind | None:
        """`creator` for a name whose pictures were removed."""
        return "creator" if "creator_sha256" in self._entries and creator_key(name) in self._of("creator_sha256") else None

    @property
    def names_uids(self) -> bool:
        """Whether it is worth working out a row's uid before it is asked for."""
        return "uid" in self._entries

    def kind_of_sha256(self, text: str) -> Kind | None:
        """`sha256` for the hex digits of a listed digest: a source that knows its images' digests says so before they are asked for."""
        try:
            return "sha256" if bytes.fromhex(text) in self._of("sha256") else None
        except ValueError:
            return None

    def kind_of_bytes(self, data: bytes) -> Kind | None:
        """The list that a file is on, by its digest."""
        if "md5" in self._entries and hashlib.md5(data, usedforsecurity=False).digest() in self._of("md5"):
            return "md5"
        if "sha1" in self._entries and hashlib.sha1(data, usedforsecurity=False).digest() in self._of("sha1"):
            return "sha1"
        if "sha256" in self._entries and hashlib.sha256(data).digest() in self._of("sha256"):
            return "sha256"
        return None

    def kind_of_picture(self, pdq: bytes, quality: int) -> Kind | None:
        """`pdq` for a hash of quality 50 or more within distance 31 of one on the list, both inclusive; as near-duplicates."""
        if self._pdq is None or quality < QUALITY:
            return None
        return "pdq" if self._pdq.near(_rows([pdq]))[0] else None

    def stored(self, table: pa.Table) -> np.ndarray:
        """Which rows of a pool's STORED_COLUMNS are on a list: booleans."""
        listed = np.zeros(table.num_rows, bool)
        known: dict[str | None, bool] = {None: False}  # most images come from the url that was asked for
        for name in URL_COLUMNS:
            for row, text in enumerate(table[name].to_pylist()):
                if text not in known:
                    known[text] = self.kind_of_url(text) is not None
                listed[row] |= known[text]
        if "sha256" in self._entries:
            digests = pa.array([entry.hex() for entry in self._of("sha256")])
            for name in SHA256_COLUMNS:
                listed |= np.asarray(pc.fill_null(pc.is_in(pc.utf8_lower(table[name]), digests), False))
        if "uid" in self._entries:
            listed |= np.asarray(pc.fill_null(pc.is_in(table["uid"], pa.array([entry.hex() for entry in self._of("uid")])), False))
        if "creator_sha256" in self._entries:
            names = table["creator"].to_pylist()
            theirs = {name for name in set(names) if name is not None and self.kind_of_creator(name)}
            listed |= np.array([name in theirs for name in names], bool)
        if self._pdq is not None:
            good = pc.and_(pc.is_valid(table["image.pdq"]), pc.greater_equal(table["image.pdq_quality"], QUALITY))
            rows = np.flatnonzero(np.asarray(pc.fill_null(good, False)))
            listed[rows] |= self._pdq.near(_rows(table["image.pdq"].take(pa.array(rows)).to_pylist()))
        return listed

    def _is_domain(self, name: bytes) -> bool:
        return name in self._of("domain") or ("domain_sha256" in self._entries and domain_key(name) in self._of("domain_sha256"))

    def _of(self, kind: str) -> frozenset[bytes]:
        return self._entries.get(kind, frozenset())


def _rows(hashes: Sequence[bytes]) -> np.ndarray:
    """PDQ hashes as uint8 (n, 32)."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def _forms(text: str, url: URL | None) -> set[str]:
    """The spellings of a url whose digest may be on a list: as written, as sent, canonical under either scheme, a bare host without '/'."""
    forms = {text, text.strip()}
    if url is not None:
        plain = canonical(url)
        rests = {plain, plain.removesuffix("/")} if plain.count("/") == 3 else {plain}
        forms |= {str(url), *(f"{scheme}:{rest}" for scheme in ("http", "https") for rest in rests)}
    return forms
