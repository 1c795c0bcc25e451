"""What img2dataset says of rows that it could not fetch, in our words."""

import re
from typing import Final

COLUMNS: Final = ("key", "status", "error_message")  # by which its Parquet files are known
_HTTP: Final = re.compile(r"HTTP Error (\d{3})")
# Texts of urllib and of img2dataset 1.x, the first that is found: (part of its error_message, our word).
_WORDS: Final = (
    ("hash mismatch", "sha256"),
    ("disallowed by X-Robots-Tag", "optout"),
    ("timed out", "timeout"),
    ("Name or service not known", "dns"),
    ("Temporary failure in name resolution", "dns"),
    ("No address associated with hostname", "dns"),
    ("nodename nor servname", "dns"),
    ("IncompleteRead", "truncated"),
    ("Connection refused", "connect"),
    ("Connection reset", "connect"),
    ("Remote end closed connection", "connect"),
    ("No route to host", "connect"),
    ("Network is unreachable", "connect"),
    ("CERTIFICATE_VERIFY_FAILED", "connect"),
    ("infinite loop", "redirects"),
    ("Image decoding error", "undecodable"),
)


def failure_of(status: str | None, message: str | None) -> tuple[str, str] | None:
    """(fetch status, error_message) of a row of img2dataset's; None for one that it fetched. What has no word of ours has its text."""
    if status == "success":
        return None
    text = (message or f"status {status}").strip()
    code = _HTTP.search(text)
    word = f"http_{code[1]}" if code else next((word for part, word in _WORDS if part in text), "img2dataset")
    if word == "optout":
        return "refused", f"optout: {text}"
    return ("failed_to_resize" if status == "failed_to_resize" else "failed_to_download"), f"{word}: {text}"
