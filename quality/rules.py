"""A policy applied to columns: a verdict and reasons for every row, vectorised."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.block_lists import LISTED
from quality.listed import check_hashes, is_listed, is_near
from schemas.caption_names import SOURCES
from schemas.policy import Policy, PolicyError, Rule, read_policy
from schemas.reasons import ACCEPTED, REASONS, REJECTED, UNCAPTIONED, error_word, reason_of_fetch

KEEP, REVIEW, DROP = 0, 1, 2  # positions in schemas.reasons.VERDICTS
UNDECODABLE: Final = "image:undecodable"
CRASHED: Final = "image:crashed"  # an image.error that begins with its word
DUPLICATES: Final = tuple(f"duplicate:{word}" for word in REASONS["duplicate"])
ALWAYS_READ: Final = ("row", "uid", "status", "error_message", "image.error")  # what every decision looks at
CAPTION: Final = "caption.normalised"  # lists of captions are compared as it is: normalised
_VERDICT_CODES: Final = {"keep": KEEP, "review": REVIEW, "drop": DROP}
_MAX_REASONS: Final = 64  # bits of a mask

PACKAGED: Final = Path(__file__).parent / "policies"


def find_policy(name_or_path: str) -> Policy:
    """A packaged policy by name, or the policy in a file. Raises PolicyError, naming the packaged ones."""
    packaged = {path.stem: path for path in sorted(PACKAGED.glob("*.toml"))}
    if name_or_path in packaged:
        return read_policy(packaged[name_or_path])
    if not Path(name_or_path).exists():
        near = difflib.get_close_matches(name_or_path, packaged, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        where = f"there is no file {name_or_path}" if "." in name_or_path or "/" in name_or_path else f"no policy {name_or_path!r}"
        raise PolicyError(f"{where}: packaged are {', '.join(packaged)}; or give the path of a TOML file{meant}")
    return read_policy(name_or_path)


@dataclass(frozen=True)
class Ruled:
    """Verdict codes (uint8) and reason masks (uint64, bit k is `reasons[k]`) of n rows.

    lifted: masks of the reasons that do not count for a row, for people overruled them. spared: the rows (bool) that would have had one.
    """

    verdict: np.ndarray
    mask: np.ndarray
    reasons: tuple[str, ...]
    lifted: np.ndarray
    spared: np.ndarray

    @classmethod
    def nothing(cls, n: int, reasons: tuple[str, ...], lifted: np.ndarray | None = None) -> "Ruled":
        """n rows that are kept so far."""
        masks = np.zeros(n, np.uint64)
        return cls(np.zeros(n, np.uint8), masks, reasons, np.zeros(n, np.uint64) if lifted is None else lifted, np.zeros(n, bool))

    def bit(self, reason: str) -> np.uint64:
        return np.uint64(1 << self.reasons.index(reason))

    def add(self, rows: np.ndarray, reason: str, verdict: int) -> None:
        """Gives rows (indices or booleans) one more reason, and at least this verdict, but for those of which it is lifted."""
        bit = self.bit(reason)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        lifted = (self.lifted[rows] & bit) != 0
        self.spared[rows[lifted]] = True
        rows = rows[~lifted]
        self.mask[rows] |= bit
        self.verdict[rows] = np.maximum(self.verdict[rows], np.uint8(verdict))

    def reason_lists(self) -> pa.ListArray:
        """The masks as lists of words, in the order of `reasons`."""
        masks, inverse = np.unique(self.mask, return_inverse=True)
        words = [[word for bit, word in enumerate(self.reasons) if int(mask) >> bit & 1] for mask in masks]
        return pa.array(words, pa.list_(pa.string())).take(pa.array(inverse))


@dataclass(frozen=True)
class Rules:
    """A policy made ready to be applied. Raises PolicyError when it has more reasons than a mask has bits, or a list of hashes holds another
    thing: that is told before hours of fetching, not by a worker after them."""

    policy: Policy

    def __post_init__(self) -> None:
        if len(self.reasons) > _MAX_REASONS:
            raise PolicyError(f"policy {self.policy.name}: more than {_MAX_REASONS} different reasons; merge some rules' reasons")
        for rule in self.policy.rules:
            if rule.not_near_file is not None:
                check_hashes(rule.not_near_file)

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """All reasons that this policy can give, in a fixed order."""
        words = [f"{family}:{word}" for family in ("source", "fetch") for word in REASONS[family]] + [LISTED, UNDECODABLE, CRASHED]
        words += [UNCAPTIONED] if self.policy.caption_version else []
        for rule in self.policy.rules:
            words += rule.gives
        return tuple(dict.fromkeys([*words, *DUPLICATES, REJECTED, ACCEPTED]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rules look at, each once, in order."""
        return tuple(dict.fromkeys(name for rule in self.policy.rules for name in rule.reads))

    @property
    def always_read(self) -> tuple[str, ...]:
        """What every decision of this policy looks at beside `columns`."""
        return (*ALWAYS_READ, SOURCES) if self.policy.caption_version else ALWAYS_READ

    def apply(self, table: pa.Table, cuts: Mapping[int, float] | None = None, lifted: np.ndarray | None = None) -> Ruled:
        """Rules on rows of `always_read` and `columns`.

        cuts: for each rule with top_fraction, by its index, the lowest value that stays; without it such rules do not act.
        lifted: a mask per row of the reasons that people overruled; None for nobody.
        """
        ruled = Ruled.nothing(table.num_rows, self.reasons, lifted)
        fetched = np.asarray(pc.equal(table["status"], "success"))
        self._refuse_unfetched(table, ~fetched, ruled)
        broken = fetched & np.asarray(pc.is_valid(table["image.error"]))
        crashed = broken & np.asarray(pc.fill_null(pc.starts_with(table["image.error"], "crashed"), False))
        ruled.add(broken & ~crashed, UNDECODABLE, DROP)
        ruled.add(crashed, CRASHED, DROP)
        if self.policy.caption_version:
            ruled.add(fetched & np.asarray(pc.is_null(table[SOURCES])), UNCAPTIONED, DROP)
        judged = fetched & ~broken
        for index, rule in enumerate(self.policy.rules):
            missing, violates = judge(rule, table, None if cuts is None else cuts.get(index), self.policy.duplicates.pdq_quality)
            if rule.missing != "keep":
                ruled.add(judged & missing, rule.missing_reason, _VERDICT_CODES[rule.missing])
            ruled.add(judged & violates, rule.reason, _VERDICT_CODES[rule.do])
        return ruled

    @staticmethod
    def _refuse_unfetched(table: pa.Table, unfetched: np.ndarray, ruled: Ruled) -> None:
        if not unfetched.any():
            return
        rows = np.flatnonzero(unfetched)
        why = table.select(["status", "error_message"]).take(pa.array(rows))
        reasons = [
            reason_of_fetch(status, error_word(message) or "")
            for status, message in zip(why["status"].to_pylist(), why["error_message"].to_pylist(), strict=True)
        ]
        for reason in set(reasons):
            ruled.add(rows[[each == reason for each in reasons]], reason, DROP)


def judge(rule: Rule, table: pa.Table, cut: float | None, pdq_quality: int) -> tuple[np.ndarray, np.ndarray]:
    """(missing, violates), two boolean arrays. NaN counts as missing; a bound is compared in the column's own type.

    table: the columns `rule.reads`. pdq_quality: below it a hash is near nothing. Raises ListError when a list is not at hand.
    """
    column = table[rule.column]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        missing = np.asarray(pc.is_null(column, nan_is_null=True))
        values = np.asarray(pc.fill_null(column, 0))
        violates = np.zeros(len(values), bool)
        for bound, worse in ((rule.min, np.less), (rule.max, np.greater), (cut, np.less)):
            if bound is not None:
                violates |= worse(values, values.dtype.type(bound) if values.dtype.kind == "f" else bound)
    else:
        missing = np.asarray(pc.is_null(column))
        violates = np.zeros(len(missing), bool)
    if rule.in_ is not None:
        violates |= ~np.asarray(pc.is_in(column, pa.array(rule.in_, column.type)))
    if rule.not_in is not None:
        violates |= np.asarray(pc.is_in(column, pa.array(rule.not_in, column.type)))
    if rule.in_file is not None:
        violates |= ~is_listed(column, rule.in_file, captions=rule.column == CAPTION)
    if rule.not_in_file is not None:
        violates |= is_listed(column, rule.not_in_file, captions=rule.column == CAPTION)
    if rule.not_near_file is not None:
        good = np.asarray(pc.fill_null(pc.greater_equal(table["image.pdq_quality"], pdq_quality), False))
        violates |= is_near(column, good & ~missing, rule.not_near_file)
    return missing, violates & ~missing


def check_policy(policy: Policy, columns: Mapping[str, pa.Field], *, where: str) -> None:
    """Raises PolicyError when a rule names a column that there is not, or a bound of the wrong type for it."""
    for number, rule in enumerate(policy.rules, 1):
        place = f"{where}: rule {number} ({rule.column})"
        if rule.column not in columns:
            near = difflib.get_close_matches(rule.column, columns, 3)
            scorer, dot, _ = rule.column.partition(".")
            if dot and not any(name.startswith(f"{scorer}.") for name in columns):
                raise PolicyError(
                    f"{place}: nothing called {scorer!r} has scored this pool; score it first "
                    f"(python -m pipelines.ingest --dataset … --start_at score --stop_after score --scorers {scorer})"
                    + (f", or did you mean {' or '.join(near)}?" if near else "")
                )
            raise PolicyError(f"{place}: unknown column {rule.column!r}; did you mean {' or '.join(near or sorted(columns))}?")
        kind = columns[rule.column].type
        numeric = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        if not numeric and any(bound is not None for bound in (rule.min, rule.max, rule.top_fraction)):
            raise PolicyError(
                f"{place}: 'min', 'max' and 'top_fraction' need a column of numbers; {rule.column} is {kind}: use 'in' or 'not_in'"
            )
        if rule.not_near_file is not None and rule.column != "image.pdq":
            raise PolicyError(f"{place}: 'not_near_file' is for image.pdq alone")
        if (rule.in_file or rule.not_in_file) and not pa.types.is_string(kind):
            raise PolicyError(f"{place}: 'in_file' and 'not_in_file' need a column of text; {rule.column} is {kind}")
        blind = pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind)
        if blind and rule.not_near_file is None:
            raise PolicyError(f"{place}: {rule.column} is {kind}, which no bound can be put on")
        for key, values in (("in", rule.in_), ("not_in", rule.not_in)):
            try:
                pa.array(values or (), kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise PolicyError(f"{place}: field {key!r} must hold values of type {kind}, got {list(values or ())}") from error
