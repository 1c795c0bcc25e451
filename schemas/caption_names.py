"""What versions of captions are called, and how a policy names one."""

import re
from collections.abc import Mapping
from typing import Any, Final

SOURCES: Final = "caption"  # the column of the sources' captions, and what a policy calls them
PREFIX: Final = f"{SOURCES}@"  # of a version's name, in a policy
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def is_name(name: str) -> bool:
    """Whether a version can be called so."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Returns the name of a version; raises ValueError where it can be none."""
    if not is_name(name):
        raise ValueError(
            f"{name!r} names no version of captions; write small letters and digits, with single hyphens between, as in blip2-large"
        )
    return name


def version_of_policy(policy: Mapping[str, Any]) -> str | None:
    """The version that a policy names, as a run or a manifest holds it."""
    return version_of(policy.get(SOURCES, SOURCES))


def version_of(caption: str) -> str | None:
    """The version that a policy's `caption` names, as in "caption@blip2"; None for "caption", the source's. Raises ValueError."""
    if caption == SOURCES:
        return None
    if not caption.startswith(PREFIX):
        raise ValueError(f'must be "{SOURCES}", the source\'s captions, or "{PREFIX}NAME", a version of them; got {caption!r}')
    return check_name(caption.removeprefix(PREFIX))
