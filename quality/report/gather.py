"""All that a report says, from a dataset's files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from quality.block_lists import LISTED, BlockLists, read_lists
from quality.report.compare import Before, compare, moved_rows, read_before
from quality.report.doubts import doubts_of
from quality.report.histograms import counts_at, edges_of, quantiles_of
from quality.report.ledger import counts_of, read_ledger
from quality.report.model import Bound, Gates, Histogram, Pair, Report, Sheet, Shown, Split, Twins
from quality.report.pairs import Chooser, read_pairs
from quality.report.scope import Scope
from quality.report.tallies import alone_of, mining_of, nsfw_of, obligations_of, reasons_of, signals_of, words_of
from schemas.columns import range_of
from schemas.pool import Pool
from schemas.reasons import REASONS
from schemas.release import Release

_SHEET, _OF_A_REASON, _TWINS, _OF_A_MOVE = 24, 8, 8, 6  # pairs shown
_NEAR, _SPREAD, _SPREAD_UNRULED = 6, 24, 12  # of a histogram: on either side of a bound, and over the range
_SHIFTS = 8  # distributions that are compared


def gather(scope: Scope, *, against: Release | None = None, sharp: str = "safe", lists: BlockLists | None = None) -> Report:
    """The report. against: another release of the dataset. sharp: which sharp thumbnails are in the file. lists: None reads them.

    Raises BlockListError."""
    return _Gatherer(scope, against, sharp, read_lists(scope.pool.store) if lists is None else lists).report()


class _Gatherer:
    def __init__(self, scope: Scope, against: Release | None, sharp: str, lists: BlockLists):
        self.scope, self.other, self.sharp, self.lists = scope, against, sharp, lists
        self.pool, self.release, self.policy = scope.pool, scope.release, scope.policy
        self.ledger = read_ledger(scope.pool, scope.release, scope.units, passes=scope.run.get("passes"), captions=scope.captions)
        self.chooser = Chooser(self.ledger, 3 if lists else 1)
        self.before: Before | None = None if against is None else read_before(self.pool, against, self.ledger)
        self.bounds = self._bounds()
        self.candidates = self._candidates()
        rows = [row for some in self.candidates.values() for row in some]
        self.duels = self._duels()
        rows += [row for _, loser, winner in self.duels for row in (loser, *([] if winner is None else [winner]))]
        self.redacts = self.policy is None or self.policy.captions.personal_data == "redact"
        self.pairs = read_pairs(self.pool, self.ledger, rows, lists, redact=self.redacts, captions=scope.captions, sharp=sharp)

    # ---- which pairs

    def _candidates(self) -> dict[str, list[int]]:
        ledger, first = self.ledger, self.chooser.first
        sheets = {}
        if self.policy is not None:
            sheets["kept"] = first(ledger.verdict == 0, _SHEET)
            sheets["review"] = first(ledger.verdict == 1, _SHEET)
            sheets["edge"] = self._at_the_edge()
            pictured = (ledger.verdict == 2) & ledger.decodes
            sheets["dropped"] = first(pictured, _SHEET)
            for reason in ledger.reasons:
                if reason.partition(":")[0] not in ("source", "fetch", "list", "duplicate"):
                    sheets[f"dropped {reason}"] = first(pictured & ledger.has(reason), _OF_A_REASON)
        else:
            sheets["pool"] = first(ledger.decodes, _SHEET)
        for band in ("high", "review"):
            if "deepfake.band" in ledger.words:
                sheets[f"band {band}"] = first(ledger.words["deepfake.band"].rows_of(band), _SHEET // 2)
        if "nsfw.open_nsfw" in ledger.numbers:
            with np.errstate(invalid="ignore"):
                sheets["nsfw"] = first(ledger.numbers["nsfw.open_nsfw"] >= np.float32(0.5), _SHEET // 2)
        if self.before is not None:
            for (was, now), rows in moved_rows(ledger, self.before).items():
                sheets[f"move {was} {now}"] = first(rows, _OF_A_MOVE)
        for name in self._histogram_names():
            values = ledger.numbers[name]
            sheets[f"histogram {name}"] = self.chooser.spread(values, ledger.decodes, _SPREAD if name in self.bounds else _SPREAD_UNRULED)
            for at in sorted({bound.at for bound in self.bounds.get(name, ())}):
                sheets[f"histogram {name}"] += self.chooser.nearest(values, at, ledger.decodes, _NEAR)
        return sheets

    def _at_the_edge(self) -> list[int]:
        """Kept pairs next to a bound: a small change of the policy decides about them."""
        ledger, found = self.ledger, list[int]()
        names = [name for name in self.bounds if name in ledger.numbers]
        for name in names:
            for bound in self.bounds[name]:
                near = self.chooser.nearest(ledger.numbers[name], bound.at, (ledger.verdict == 0) & ledger.decodes, _OF_A_REASON)
                found += near[: max(2, _SHEET // max(1, len(names)))]
        return list(dict.fromkeys(found))

    def _duels(self) -> list[tuple[str, int, int | None]]:
        """(reason, loser, winner) of duplicates, by uid of the loser."""
        found = []
        for word in REASONS["duplicate"]:
            reason = f"duplicate:{word}"
            lost = self.ledger.has(reason) & self.ledger.decodes
            with_winner = [row for row in self.chooser.first(lost, _TWINS * 2) if row in self.ledger.winners]
            found += [(reason, row, self.chooser.row_of(self.ledger.winners[row], but=row)) for row in with_winner]
        return found

    def _histogram_names(self) -> list[str]:
        """Columns with a rule first, in the policy's order, then the others by name; those that nobody measured last."""
        ruled = [name for name in self.bounds if name in self.ledger.numbers]
        rest = sorted(name for name in self.ledger.numbers if name not in ruled)
        return [*ruled, *(name for name in rest if not np.isnan(self.ledger.numbers[name]).all())]

    def _bounds(self) -> dict[str, list[Bound]]:
        found: dict[str, list[Bound]] = {}
        cuts = {} if self.release is None else {key: cut for unit in self.release.decided() for key, cut in unit.cuts.items()}
        for number, rule in enumerate(() if self.policy is None else self.policy.rules):
            cut = cuts.get(str(number))
            for side, at in (("min", rule.min), ("max", rule.max), ("min", cut)):
                if at is not None:
                    found.setdefault(rule.column, []).append(Bound(at, side, rule.do, rule.reason, rule.missing, rule.overrule))
        return found

    def _sheet(self, name: str, of: int, n: int, values: np.ndarray | None = None) -> Sheet:
        shown: list[Shown] = []
        for row in self.candidates.get(name, ()):
            if row in self.pairs and len(shown) < n:
                value = None if values is None or np.isnan(values[row]) else float(values[row])
                shown.append(Shown(self.pairs[row], value, *self._evidence(row)))
        return Sheet(name, of, shown)

    def _evidence(self, row: int) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        words = self.ledger.words
        if "deepfake.evidence" not in words or words["deepfake.evidence"].codes[row] < 0:
            return (), None
        text, band = words["deepfake.evidence"], words["deepfake.band"]
        told = None if band.codes[row] < 0 else band.values[band.codes[row]]
        return (json.loads(text.values[text.codes[row]])["pieces"], told) if told in ("review", "high") else ((), None)

    # ---- counts

    def _histogram(self, name: str) -> Histogram:
        ledger, values = self.ledger, self.ledger.numbers[name]
        declared, bounds = ledger.fields[name], self.bounds.get(name, [])
        whole = pa.types.is_integer(declared.type)
        edges = edges_of(values, range=range_of(declared), whole=whole, bounds=[bound.at for bound in bounds])
        at_least, at_most = counts_at(values, ledger.verdict, edges.values)
        measured = int((~np.isnan(values)).sum())
        counted = (at_least[edges.drawn[:-1]] - at_least[edges.drawn[1:]]).sum(axis=1) if len(edges.drawn) > 1 else np.zeros(0)
        filled = counted[counted > 0]
        better = (declared.metadata or {}).get(b"better", b"").decode() or None
        rows = sorted(
            {row for row in self.candidates.get(f"histogram {name}", ()) if row in self.pairs}, key=lambda row: (values[row], row)
        )
        return Histogram(
            name=name, meaning=(declared.metadata or {}).get(b"meaning", b"").decode(), scorer=ledger.scorers.get(name), better=better,
            measured=measured, missing=int(ledger.fetched.sum()) - measured,
            totals=np.bincount(ledger.verdict[~np.isnan(values)], minlength=4).tolist(), edges=edges.values.tolist(), at_least=at_least.tolist(),
            at_most=at_most.tolist(), drawn=edges.drawn.tolist(), log_x=edges.log,
            log_y=len(filled) > 0 and float(filled.max()) > 60 * float(np.median(filled)), quantiles=quantiles_of(values), bounds=bounds,
            samples=[(float(values[row]), self.pairs[row]) for row in rows], whole=whole,
            single=values.dtype == np.float32,
        )  # fmt: skip

    def _twins(self) -> list[Twins]:
        found, taken = [], Counter[str]()
        for reason, loser, winner in self.duels:
            if loser in self.pairs and taken[reason] < _TWINS:
                taken[reason] += 1
                found.append(Twins(reason, self.pairs[loser], None if winner is None else self.pairs.get(winner)))
        return found

    def _comparison(self) -> Any:
        if self.other is None or self.before is None:
            return None
        run = self.other.run() or {}
        shown: dict[tuple[str, str], list[Pair]] = {}
        for was, now in moved_rows(self.ledger, self.before):
            some = [self.pairs[row] for row in self.candidates[f"move {was} {now}"] if row in self.pairs]
            shown[was, now] = some[:_OF_A_MOVE]
        columns = [name for name in self._histogram_names() if name in self.bounds] or self._histogram_names()
        return compare(
            self.ledger, self.before, name=self.other.name, policy=run.get("policy", {}).get("name", "?"),
            same_policy=run.get("policy_digest") == self.scope.run.get("policy_digest"), shown=shown, columns=columns[:_SHIFTS],
        )  # fmt: skip

    # ---- the whole

    def report(self) -> Report:
        ledger, pool = self.ledger, self.pool
        planned = pool.planned_units()
        manifest = None if self.release is None else self.release.manifest()
        shards = [] if self.release is None else self.release.shards()
        fetched = ledger.fetched
        sheets = {
            "kept": self._sheet("kept", int((ledger.verdict == 0).sum()), _SHEET),
            "review": self._sheet("review", int((ledger.verdict == 1).sum()), _SHEET),
            "edge": self._sheet("edge", int((ledger.verdict == 0).sum()), _SHEET),
            "dropped": self._sheet("dropped", int((ledger.verdict == 2).sum()), _SHEET),
            "pool": self._sheet("pool", int(ledger.decodes.sum()), _SHEET),
        }
        for band in ("high", "review") if "deepfake.band" in ledger.words else ():
            sheets[f"band {band}"] = self._sheet(f"band {band}", int(ledger.words["deepfake.band"].rows_of(band).sum()), _SHEET // 2)
        if "nsfw" in self.candidates:
            values = ledger.numbers["nsfw.open_nsfw"]
            with np.errstate(invalid="ignore"):
                sheets["nsfw"] = self._sheet("nsfw", int((values >= np.float32(0.5)).sum()), _SHEET // 2, values)
        reasons = reasons_of(ledger)
        report = Report(
            dataset=pool.store.name,
            release=None if self.release is None else self.release.name,
            policy=None if self.policy is None else self.policy.name,
            policy_text="" if self.policy is None else self.policy.description,
            policy_digest=self.scope.run.get("policy_digest"),
            redacts=self.redacts,
            captions=self.scope.captions,
            published=manifest is not None,
            rows=sum(planned.values()) if planned else len(ledger),
            fetched=int(fetched.sum()),
            decodable=int(ledger.decodes.sum()),
            counts=counts_of(ledger),
            deferred=sum(rows for unit, rows in planned.items() if unit not in set(self.scope.units)),
            units=len(self.scope.units),
            statuses=dict(ledger.statuses.most_common()),
            errors=[(status, word, n) for (status, word), n in sorted(ledger.errors.items(), key=lambda item: (-item[1], item[0]))],
            reasons=reasons,
            only=alone_of(ledger),
            gates=_gates(self.release, manifest),
            doubts=(),
            histograms=[self._histogram(name) for name in self._histogram_names()],
            words={
                name: mining_of(ledger) if name == "evidence.mining" else words_of(ledger, name, fetched)
                for name in ledger.words
                if name not in ("deepfake.evidence", "license.obligations")
            },
            obligations=obligations_of(ledger),
            nsfw=nsfw_of(ledger),
            signals=signals_of(ledger),
            sheets=sheets,
            dropped=[
                self._sheet(f"dropped {split.label}", split.drop, _OF_A_REASON)
                for split in reasons
                if f"dropped {split.label}" in self.candidates
            ],
            twins=self._twins(),
            duplicates=[split for split in reasons if (split.label or "").startswith("duplicate:")],
            blocked=int(ledger.has(LISTED).sum()) if self.release is not None else int((~ledger.known).sum()),
            incidents=_incidents(pool, self.scope.units),
            shards=len(shards) if shards else None,
            bytes=sum(shard.bytes for shard in shards) if shards else None,
            took=[(step, float(done["seconds"]), int(done["pairs"])) for step, done in self.scope.run.get("took", {}).items()],
            scorers=_scorers(pool, self.scope.run, self.scope.captions),
            sources=[Path(str(each.get("source"))).name for each in (pool.settings("source") or {}).get("sources", ())],
            rules=self._rules(reasons),
            against=self._comparison(),
            withheld=dict(Counter(pair.withheld for pair in self.pairs.values() if pair.withheld is not None)),
        )
        return replace(report, doubts=doubts_of(report))

    def _rules(self, reasons: Sequence[Split]) -> list[dict[str, Any]]:
        counts = {split.label: split for split in reasons}
        empty = Split(None)
        return [
            {"rule": rule, "missing": 0 if rule.missing == "keep" else counts.get(rule.missing_reason, empty).n,
             "n": counts.get(rule.reason, empty).n}
            for rule in (() if self.policy is None else self.policy.rules)
        ]  # fmt: skip


def _gates(release: Release | None, manifest: Mapping[str, Any] | None) -> Gates:
    """Of the last attempt to publish (gates.json), else of the manifest."""
    if release is None:
        return Gates("not_run")
    try:
        told = json.loads(release.store.read(f"{release.path}/gates.json"))
        outcomes = told["outcomes"]
        return Gates("passed" if told["passed"] else "failed", outcomes)
    except FileNotFoundError:
        outcomes = (manifest or {}).get("gates", ())
        return Gates("passed" if outcomes else "not_run", outcomes)  # there is no manifest where a critical gate failed


def _incidents(pool: Pool, units: Sequence[str]) -> dict[str, int]:
    found = Counter[str]()
    for unit, kinds in pool.incidents().items():
        if unit in set(units):
            found.update(kinds)
    return dict(sorted(found.items()))


def _scorers(pool: Pool, run: Mapping[str, Any], captions: str | None) -> list[tuple[str, str, str | None]]:
    """(calibration, version, engine) of the scorers that were used."""
    engines = pool.settings("engines") or {}
    found = []
    for pass_ in pool.passes_for(captions):
        if "passes" not in run or pass_.name in run["passes"]:
            for scorer in pass_.scorers:
                used = sorted({engine for tower, engine in engines.items() if tower.partition(".")[0] == scorer.name})
                found.append((scorer.calibration, scorer.version, ", ".join(used) or None))
    return found
