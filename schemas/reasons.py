"""The closed set of words that verdicts, fetch statuses, fetch errors and reasons are made of.

A reason is ``<family>:<word>``. A word that is not in this file cannot enter the ledger: :func:`check_reason` raises.
"""

import re
from typing import Final, Literal

Verdict = Literal["keep", "review", "drop"]
VERDICTS: Final = ("keep", "review", "drop")  # in order of severity; the position is the code used in arrays

FETCH_STATUSES: Final = {
    "success": "the bytes are stored",
    "failed_to_download": "the bytes did not come, or were no image",
    "failed_to_resize": "the bytes came but the image could not be taken",
    "refused": "a safety rule or an opt-out forbade the request",
    "blocked": "the pair is on a block list, or was removed on request",
    "postponed": "the deadline passed before the answer came",
    "crashed": "the pair killed the process that handled it",
    "invalid": "the source row is no pair",
}

# The first word of `error_message`; details follow after ": ". `http_<code>` is open in its number.
FETCH_ERRORS: Final = {
    "timeout": "no answer, or no whole answer, in time",
    "connect": "the connection was refused, unreachable or reset before an answer",
    "dns": "the host name does not resolve",
    "truncated": "the body ended before its announced length",
    "too_large": "the body is larger than the byte cap",
    "not_image": "the bytes are no supported image by their magic number",
    "pixels": "the header announces more pixels than the cap",
    "work": "the image has so many scans that decoding it would take more time than any image is given",
    "undecodable": "the image could not be decoded (when fetching converts)",
    "evidence": "what the file says of where it came from, or of its mining, could not be read, so nobody knows whether it may be kept",
    "redirects": "a redirect loop, or too many redirects",
    "private_address": "the host resolves to an address that is not public",
    "bad_redirect": "a redirect leaves http and https",
    "missing_file": "the folder or the tar has no such file",
    "img2dataset": "img2dataset did not fetch it, and gives a reason of its own",
    "sha256": "the bytes are not those whose SHA-256 the source names, or it names none",
    "optout": "the site or the file forbids mining (robots.txt, X-Robots-Tag, TDMRep, C2PA, IPTC/PLUS), and the pool obeys",
    "robots_unreachable": "the host's robots.txt could not be read, which forbids every request (RFC 9309, 2.3.1.4)",
    "no_contact": "the host is not this machine, and no contact address was given to ask it with",
    "no_url": "the row has no url or file name",
    "bad_url": "the url is no http or https url, or the file name leaves the folder",
    "no_caption": "the row has no caption",
    "wrong_type": "a known column holds something else than text",
    "bad_row": "the line could not be parsed",
    "deadline": "the unit's deadline passed",
    "crashed": "the process that took the image ended by it, three times",
    "list": "the pair is on a block list, and nothing else is said of it",
}

REASONS: Final = {
    "source": {
        "no_url": "the row has no url or file name",
        "bad_url": "the url is no http or https url",
        "no_caption": "the row has no caption",
        "wrong_type": "a known column holds something else than text",
        "bad_row": "the line could not be parsed",
        "sha256": "the source's digest of the image is no SHA-256",
    },
    "fetch": {status: text for status, text in FETCH_STATUSES.items() if status not in ("success", "invalid", "blocked")},
    "image": {
        "undecodable": "the stored bytes cannot be decoded",
        "crashed": "the process that measured the pair ended by it, three times",
        "too_small": "the smallest side is below the bound",
        "aspect": "one side is too many times the other",
        "small_file": "the file has fewer bytes than the bound",
        "too_large": "the image has more pixels than the bound",
        "blurred": "the image has hardly any detail",
        "empty": "the image is nearly one colour",
        "missing": "the image was not measured",
    },
    "caption": {
        "too_short": "the caption has too few words or characters",
        "too_long": "the caption has too many words",
        "repeats": "one word makes up too much of the caption",
        "language": "the caption is in another language",
        "common": "the same caption stands too often in the pool",
        "boilerplate": "the caption is a file name, a date or a link",
        "personal_data": "the caption holds an e-mail address, or a phone, card, account or national id number",
        "not_in_version": "the version of the captions that the release takes has none for the pair",
        "missing": "the caption was not measured",
    },
    "clip": {
        "low_similarity": "caption and image do not match well enough",
        "not_in_top": "caption and image match less well than the wanted fraction",
        "missing": "the similarity was not measured",
    },
    "nsfw": {
        "high": "the image is probably not safe for work",
        "possible": "the image is possibly not safe for work",
        "disagreement": "two measures of safety for work disagree",
        "missing": "the image was not measured",
    },
    "license": {
        "not_allowed": "the licence class is not allowed",
        "unknown": "no known licence is stated",
        "missing": "the licence was not measured",
    },
    "duplicate": {
        "pair": "the same url and caption stand earlier in the pool",
        "exact": "a better pair has the same image bytes",
        "picture": "a better pair has the same picture, colours and caption",
        "near": "a better pair has nearly the same picture and colours",
        "semantic": "a better pair's image says nearly the same",
    },
    "id": {
        "in_list": "the id is on a list that the policy excludes",
        "not_in_list": "the id is not on the list that the policy selects",
        "missing": "the pair has no such id",
    },
    "leak": {
        "picture": "the picture is nearly one of an evaluation set",
        "caption": "the caption is one of an evaluation set",
        "missing": "the picture or the caption was not measured",
    },
    "optout": {
        "disallowed": "the owner reserved text and data mining",
        "refused": "the site or the file forbids mining, and the pool obeys: nothing is stored",
    },
    "list": {"blocked": "the pair is on a block list, or was removed on request"},
    "deepfake": {
        "high": "the evidence for a deepfake risk is strong",
        "possible": "there is evidence for a deepfake risk",
        "missing": "the deepfake risk was not measured",
    },
    "review": {"rejected": "a person decided against the pair", "accepted": "a person decided for the pair"},
}

UNCAPTIONED: Final = "caption:not_in_version"
REJECTED: Final = "review:rejected"
ACCEPTED: Final = "review:accepted"  # the one reason that a kept pair can have

# What no person can decide otherwise, whatever a policy says: there is no image, none may be seen, or a better pair stays.
_FACTS: Final = frozenset({"source", "fetch", "list", "duplicate"})


def is_fact(reason: str) -> bool:
    """Whether a reason is none that a person could overrule: the pair was not fetched, is blocked, undecodable or a duplicate."""
    return reason.partition(":")[0] in _FACTS or reason in ("image:undecodable", "image:crashed", "optout:refused", UNCAPTIONED)


def reason_text(reason: str) -> str:
    """What a reason means, in one clause. Raises KeyError for a word outside the closed set."""
    family, _, word = reason.partition(":")
    return REASONS[family][word]


def check_reason(reason: str) -> str:
    """Returns `reason`; raises ValueError, naming the words there are, when it is outside the closed set."""
    family, _, word = reason.partition(":")
    if word not in REASONS.get(family, {}):
        known = ", ".join(f"{family}:{known}" for known in REASONS[family]) if family in REASONS else "families " + ", ".join(REASONS)
        raise ValueError(f"unknown reason {reason!r}; known: {known}")
    return reason


def reason_of_fetch(status: str, error: str) -> str:
    """The reason of a pair that was not fetched: `source:<error>` for an invalid row, `list:blocked`, `optout:refused`, else `fetch:<status>`."""
    if status == "blocked":
        return "list:blocked"
    if status == "refused" and error == "optout":
        return "optout:refused"
    return check_reason(f"source:{error}" if status == "invalid" else f"fetch:{status}")


# Errors that say nothing lasting about the pair: the same request may succeed another day.
PASSING: Final = frozenset({"timeout", "connect", "dns", "truncated", "deadline", "robots_unreachable", "no_contact"})


def can_pass(status: str, error_message: str | None) -> bool:
    """Whether a row that ended so is worth asking for again: a postponed one, one of PASSING, or HTTP's 408, 425, 429 and 5xx."""
    word = error_word(error_message) or ""
    return status == "postponed" or word in PASSING or re.fullmatch(r"http_(408|425|429|5\d\d)", word) is not None


def error_word(error_message: str | None) -> str | None:
    """The machine-readable first word of an `error_message`."""
    return None if error_message is None else error_message.partition(":")[0]
