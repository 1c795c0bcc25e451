"""Text out of untrusted files, fit for a table: no control characters, one line, of bounded length."""

import re
from typing import Final

SHORT: Final = 200  # characters: names of tools, cameras, editors
LONG: Final = 500  # characters: prompts
_UNFIT: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]+"
)  # controls, and what turns text
_SPACES: Final = re.compile(r"\s+")


def cleaned(text: str, most: int = SHORT) -> str:
    """At most `most` characters: runs of white space and of control characters, format characters that hide or turn text included, are one
    space. May be empty.
    """
    return _SPACES.sub(" ", _UNFIT.sub(" ", text[: 4 * most])).strip()[:most].rstrip()


def decoded(data: bytes) -> str:
    """Bytes that are said to be ASCII or Latin-1, and that tools fill with UTF-8. Ends at the first NUL."""
    data = data.partition(b"\0")[0]
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
