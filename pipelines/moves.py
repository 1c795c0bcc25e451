"""Which pairs change sides between two policies, and why: two releases of the same units, side by side."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.reasons import VERDICTS, reason_text
from schemas.release import Release

EXAMPLES: Final = 3


@dataclass
class Why:
    """A reason that tells two policies apart: of how many pairs, and the first of them."""

    pairs: int = 0
    uids: list[str] = field(default_factory=list)

    def add(self, uids: Sequence[str]) -> None:
        self.pairs += len(uids)
        self.uids += uids[: EXAMPLES - len(self.uids)]


@dataclass
class Move:
    """Pairs that were `before` and would be `after`. reasons: those of the stricter side that the other has not; a pair can have several."""

    before: str
    after: str
    pairs: int = 0
    reasons: dict[str, Why] = field(default_factory=dict)

    @property
    def stricter(self) -> bool:
        return VERDICTS.index(self.after) > VERDICTS.index(self.before)


@dataclass(frozen=True)
class Moves:
    """Pairs by verdict before and after: {(before, after): pairs} for all, and the moves among them."""

    pairs: dict[tuple[str, str], int]
    moves: list[Move]

    def as_dict(self) -> dict[str, Any]:
        return {
            "pairs": [{"before": before, "after": after, "pairs": pairs} for (before, after), pairs in self.pairs.items()],
            "moves": [asdict(move) for move in self.moves],
        }


def moves_between(before: Release, after: Release, units: Sequence[str]) -> Moves:
    """Compares the decisions of two releases, unit by unit."""
    pairs = {(one, other): 0 for one in VERDICTS for other in VERDICTS}
    moves = {(one, other): Move(one, other) for one, other in pairs if one != other}
    for unit in units:
        old, new = (release.read_decisions(unit, ["uid", "verdict", "reasons"]) for release in (before, after))
        both = np.asarray(pc.and_(pc.is_valid(old["verdict"]), pc.is_valid(new["verdict"])))  # a follow-up decides about the others
        old, new = old.filter(pa.array(both)), new.filter(pa.array(both))
        codes = [np.asarray(pc.index_in(table["verdict"], pa.array(VERDICTS))) for table in (old, new)]
        for (one, other), count in zip(pairs, np.bincount(codes[0] * len(VERDICTS) + codes[1], minlength=len(pairs)), strict=True):
            pairs[one, other] += int(count)
            if count and one != other:
                rows = np.flatnonzero((codes[0] == VERDICTS.index(one)) & (codes[1] == VERDICTS.index(other)))
                _add(moves[one, other], old.take(pa.array(rows)), new.take(pa.array(rows)))
    found = [move for move in moves.values() if move.pairs]
    return Moves(pairs, sorted(found, key=lambda move: (-move.pairs, move.before, move.after)))


def _add(move: Move, old: pa.Table, new: pa.Table) -> None:
    """Counts the rows, all of one move, under each reason that only the stricter side has."""
    move.pairs += old.num_rows
    strict, mild = (new, old) if move.stricter else (old, new)
    by_reason = defaultdict[str, list[str]](list)
    columns = (strict["uid"].to_pylist(), strict["reasons"].to_pylist(), mild["reasons"].to_pylist())
    for uid, reasons, others in zip(*columns, strict=True):
        # A rule can be milder and have the same reason: then it stands on both sides, and is why.
        for reason in [reason for reason in reasons if reason not in others] or reasons:
            by_reason[reason].append(uid)
    for reason, uids in by_reason.items():
        move.reasons.setdefault(reason, Why()).add(uids)


def move_lines(moves: Moves, *, before: str, after: str) -> list[str]:
    """Aligned text: a table of verdicts, then each move with its reasons, their pairs and first uids."""
    width = max(len(f"{before}: {verdict}") for verdict in VERDICTS)
    lines = [f"  {'':<{width}}" + "".join(f"{f'{after}: {verdict}':>{len(after) + 10}}" for verdict in VERDICTS)]
    for one in VERDICTS:
        lines.append(f"  {f'{before}: {one}':<{width}}" + "".join(f"{moves.pairs[one, other]:>{len(after) + 10},}" for other in VERDICTS))
    if not moves.moves:
        return [*lines, "", "no pair changes sides"]
    for move in moves.moves:
        by_whom = f"because {after} finds" if move.stricter else f"because {after} no longer finds"
        lines += ["", f"{move.before} -> {move.after}  {move.pairs:,} pairs, {by_whom}"]
        for reason, why in sorted(move.reasons.items(), key=lambda item: (-item[1].pairs, item[0])):
            lines += [f"  {reason:<28}{why.pairs:>9,}  {reason_text(reason)}", f"  {'':<28}{'':>9}  {' '.join(why.uids)}"]
    return lines
