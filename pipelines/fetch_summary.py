"""What fetching did: rates, bytes, latency, failures, stragglers, opt-outs. `python -m pipelines.fetch_summary --help`.

`--json` prints one object, the fields of pipelines.fetch.summary.FetchSummary:

    units, measured         committed units, and those of them that have a table of requests (pools that are older have none)
    in_place                those of them whose images lay in your own tars: nothing was asked for them
    rows                    pairs of these units; statuses: {fetch status: pairs}, which add up to it
    stored                  bytes of images in the pool; those that stay in your own tars do not count
    requests, received      how many were made, and bytes on the wire; null where nothing was measured
    latency                 {p50, p95, p99, longest}: seconds of a pair, retries and redirects included; null likewise
    spells                  [{began, seconds, pairs, bytes, slices}]: times of fetching with less than ten minutes without any outcome between;
                            slices: 24 equal parts of it as [pairs, failed, bytes]
    reasons                 [{status, word, pairs, passing}], commonest first; passing: asking again may help
    hosts, failing_hosts    [{host, asked, failed, commonest}], the ten with most failures, and how many have any
    stragglers              [{url, unit, row, status, seconds, requests}], the ten slowest
    optouts                 {signal: {allowed | disallowed | unknown: pairs}}, the state being the pair's; null in older pools
    deferred                {unit: {rows, why}}: planned units that are not committed
    retried                 {follow_ups, pairs, came, planned}: what was asked for again
    passing                 pairs that --retry_failed would ask for again

Pairs and hosts that are on a block list are not named.
"""

import json
import sys
from collections import Counter
from collections.abc import Collection, Sequence

from pipelines.fetch.summary import FetchSummary, Spell, summarise
from pipelines.options import EXIT_CODES, EXIT_DONE, Parser, UsageError
from pipelines.pool_job import PoolJob
from pipelines.progress import duration, say
from pipelines.run import command
from quality.block_lists import read_lists
from schemas.pool import Pool

_BARS = " ▁▂▃▄▅▆▇█"
_SPELLS = 8  # the newest
_LETTERS = 300  # of a url
_EXAMPLES = """examples:
  python -m pipelines.fetch_summary --dataset cats
  python -m pipelines.fetch_summary --dataset cats --json > fetch.json

"""


def text_of(summary: FetchSummary, dataset: str) -> list[str]:
    """The whole summary for a terminal."""
    lines = [f"Fetch of {dataset}: {_some(summary.rows, 'pair')} in {_some(summary.units, 'unit')}", ""]
    lines += [
        f"  {status:<20}{pairs:>11,} {pairs / summary.rows:7.1%}"
        for status, pairs in Counter(summary.statuses).most_common()
        if summary.rows
    ]
    received = "" if summary.received is None else f", {_size(summary.received)} received in {_some(summary.requests or 0, 'request')}"
    lines += ["", f"bytes      {_size(summary.stored)} stored{received}"]
    if summary.in_place:
        lines.append(f"           {_some(summary.in_place, 'unit')} of your own tars: nothing was asked for")
    if (without := summary.units - summary.in_place - summary.measured) > 0:
        unmeasured = _some(without, "unit")
        lines.append(f"           {unmeasured} without a table of requests: not in what follows of time")
    if summary.latency is not None:
        of = summary.latency
        lines.append(f"latency    p50 {of.p50:.3g} s, p95 {of.p95:.3g} s, p99 {of.p99:.3g} s, longest {of.longest:.3g} s")
    lines += _of_spells(summary.spells)
    if summary.reasons:
        lines += ["", "what did not come"]
        lines += [
            f"  {_plain(f'{each.status}: {each.word}'):<44}{each.pairs:>11,}{'  can pass' if each.passing else ''}"
            for each in summary.reasons
        ]
    if summary.hosts:
        lines += ["", f"failures by host ({len(summary.hosts)} of {_some(summary.failing_hosts, 'host')} with any)"]
        lines += [
            f"  {_plain(each.host):<44}{each.failed:>11,} of {each.asked:,}, {each.failed / each.asked:.0%}, mostly {each.commonest}"
            for each in summary.hosts
        ]
    if summary.stragglers:
        lines += ["", "slowest"]
        lines += [
            f"  {each.seconds:8.2f} s  {_some(each.requests, 'request')}  {each.status}  {_plain(each.url)}" for each in summary.stragglers
        ]
    if summary.optouts:
        lines += ["", "signals of opt-outs, by what the pair's say together"]
        lines += [
            f"  {_plain(signal):<44}" + ", ".join(f"{pairs:,} {state}" for state, pairs in states.items())
            for signal, states in summary.optouts.items()
        ]
    if summary.deferred:
        rows = sum(each["rows"] for each in summary.deferred.values())
        lines += ["", f"deferred   {_some(len(summary.deferred), 'unit')} ({_some(rows, 'pair')}): run the same command again"]
        lines += [f"  {unit}  {_some(each['rows'], 'pair')}  {each['why']}" for unit, each in list(summary.deferred.items())[:_SPELLS]]
    return [*lines, *_of_retries(summary)]


def short_text(summary: FetchSummary, dataset: str) -> list[str]:
    """What a run has fetched, in a few lines."""
    parts = [f"{status} {pairs:,}" + _words_of(summary, status) for status, pairs in Counter(summary.statuses).most_common()]
    lines = [f"fetched {_some(summary.rows, 'pair')}{_rate(summary.spells)}: {', '.join(parts)}"]
    if summary.latency is not None:
        of = summary.latency
        lines.append(f"  a pair took p50 {of.p50:.3g} s, p95 {of.p95:.3g} s, p99 {of.p99:.3g} s; {_size(summary.stored)} stored")
    if summary.passing:
        lines.append(f"  {_some(summary.passing, 'failure')} can pass: --retry_failed asks again")
    return [*lines, f"  hosts, rates and stragglers: python -m pipelines.fetch_summary --dataset {dataset}"]


def lines_of_run(job: PoolJob, dataset: str, *, before: Collection[str]) -> list[str]:
    """What a run has fetched over HTTP, and what asking again has brought. before: the units that were committed before it."""
    fetched = job.pool.committed() - set(before)
    lines = short_text(summarise(job.pool, read_lists(job.pool.store), units=fetched), dataset) if job.asks_hosts and fetched else []
    if job.retry_round is None:
        return lines
    plans = job.retried()
    if not plans:
        return [*lines, "nothing to retry: no pair of a committed unit failed in a way that can pass"]
    asked = sum(plan.rows for plan in plans.values())
    came = sum(commit.statuses.get("success", 0) for unit in plans if (commit := job.pool.raw_commit(unit)) is not None)
    units = _some(len(plans), "unit")
    return [*lines, f"asked again for {_some(asked, 'pair')} that had failed, of {units} (round {job.retry_round}): {came:,} came"]


def _words_of(summary: FetchSummary, status: str) -> str:
    """The commonest words of a status, in brackets."""
    words = [f"{each.word} {each.pairs:,}" for each in summary.reasons if each.status == status and each.word]
    return f" ({', '.join(words[:3])}{', …' if len(words) > 3 else ''})" if words else ""


def _rate(spells: Sequence[Spell]) -> str:
    seconds = sum(spell.seconds for spell in spells)
    if not seconds:
        return ""
    pairs, size = sum(spell.pairs for spell in spells), sum(spell.bytes for spell in spells)
    return f" in {duration(seconds)} ({pairs / seconds:,.{0 if pairs >= 10 * seconds else 1}f}/s, {_size(size // seconds)}/s)"


def _of_spells(spells: Sequence[Spell]) -> list[str]:
    if not spells:
        return []
    told = f", the newest {_SPELLS} of {len(spells)}" if len(spells) > _SPELLS else ""
    lines = ["", f"rate over time (pairs in 24 equal parts of a spell, UTC{told})"]
    for spell in spells[-_SPELLS:]:
        lines.append(
            f"  {spell.began:%Y-%m-%d %H:%M:%S}  {bars([pairs for pairs, _, _ in spell.slices])}  {_some(spell.pairs, 'pair')}{_rate([spell])}"
        )
    return lines


def bars(values: Sequence[int]) -> str:
    """A bar for each value, the tallest for the largest; a blank for none at all."""
    most = max(values, default=0)
    return "".join(_BARS[-(-value * (len(_BARS) - 1) // most) if most else 0] for value in values)


def _of_retries(summary: FetchSummary) -> list[str]:
    retried, lines = summary.retried, list[str]()
    if retried.follow_ups or retried.planned:
        to_come = f"; {retried.planned:,} more are planned" if retried.planned else ""
        lines.append(
            f"asked again for {_some(retried.pairs, 'pair')} in {_some(retried.follow_ups, 'follow-up')}: {retried.came:,} came{to_come}"
        )
    if summary.passing:
        lines.append(f"{_some(summary.passing, 'failure')} can pass: --retry_failed asks again")
    return ["", *lines] if lines else []


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """Text of others as a terminal may show it: no control characters, at most 300 letters."""
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text[:_LETTERS])
    return shown + ("…" if len(text) > _LETTERS else "")


def _size(count: int) -> str:
    """`512 B`, `75.0 KB`, `1.2 GB`."""
    size, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m pipelines.fetch_summary",
        description="What fetching did: rates, bytes, latency, failures by reason and host, stragglers, opt-outs.",
        epilog=_EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--dataset", metavar="DIR", default="pigment-sample", help="folder or URL of the dataset")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    args = parser.parse_args(argv)
    pool = Pool(args.dataset)
    if pool.settings("source") is None:
        raise UsageError(f"{args.dataset}: no dataset here; check --dataset")
    summary = summarise(pool, read_lists(pool.store))
    say(json.dumps(summary.as_dict(), sort_keys=True) if args.json else "\n".join(text_of(summary, args.dataset)))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(command(main))
