"""What stands for a thing on a list: digests that all spellings of it share."""

import hashlib
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

from yarl import URL

from quality.urls import BadUrl, canonical, url_of


def url_key(text: str) -> tuple[str, bytes]:
    """(kind, digest) of an address: of its canonical form, or of the text as it is where it has none."""
    url = lenient(text)
    if url is None:
        return "url_sha256", hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return "url", hashlib.sha256(canonical(url).encode()).digest()


def domain_keys(text: str) -> Iterator[bytes]:
    """Digests of the host that an address names, and of every domain above it."""
    url = lenient(text)
    return (domain_key(name) for name in (() if url is None else parents(url.raw_host or "")))


def domain_key(name: bytes) -> bytes:
    """name: as requests have it (lower case, IDNA)."""
    return hashlib.sha256(name).digest()


def creator_key(name: str) -> bytes:
    """Of a creator's name without regard to case, width and spaces (NFKC, case folded)."""
    return hashlib.sha256(" ".join(unicodedata.normalize("NFKC", name).casefold().split()).encode("utf-8", "surrogatepass")).digest()


def lenient(text: str) -> URL | None:
    """The address that a text names; of one that cannot be asked for, such as one with a user's name in it, by host and path. None: none."""
    try:
        return url_of(text)
    except BadUrl:
        pass
    try:
        parts = urlsplit(text.strip())
        scheme = "https" if parts.scheme == "https" else "http"
        return url_of(f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?' + parts.query if parts.query else ''}")
    except (BadUrl, ValueError):
        return None


def parents(host: str) -> Iterator[bytes]:
    """The host and every domain above it."""
    labels = host.rstrip(".").split(".")
    return (".".join(labels[place:]).encode() for place in range(len(labels)))
