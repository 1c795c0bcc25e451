"""Markdown: what the documents have in common. What comes from a dataset stands in cells and code, where it cannot be taken for markup."""

from collections.abc import Sequence
from typing import Final

from quality.documents.facts import Facts
from schemas.reasons import reason_text


def table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str = "none") -> str:
    """A table; `nothing` where there are no rows."""
    if not rows:
        return nothing
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines)


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Text of a dataset, shown as it is."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def share(part: int, whole: int) -> str:
    """`12 (3.4 %)`."""
    return f"{part:,} ({100 * part / whole:.1f} %)" if whole else f"{part:,}"


def size(count: int) -> str:
    """Bytes, for people."""
    for unit, at in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= at:
            return f"{count / at:,.1f} {unit}"
    return f"{count:,} bytes"


def licences(facts: Facts) -> str:
    """Pairs by licence, with what each asks for."""
    rows = [
        [code(terms.spdx), terms.class_, ", ".join(terms.duties) or "none stated", share(terms.pairs, facts.pairs)] for terms in facts.terms
    ]
    return table(["licence (SPDX)", "class", "obligations", "pairs"], rows)


def decided(facts: Facts) -> str:
    """What became of every row, and why pairs were not kept."""
    counts, reasons = facts.manifest["counts"], facts.manifest["funnel"]["reasons"]
    rows = [
        [code(reason), reason_text(reason), f"{count:,}"] for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    ]
    told = ", ".join(f"{counts[word]:,} {said}" for word, said in (("keep", "kept"), ("review", "for review"), ("drop", "dropped")))
    more = f", {counts['deferred']:,} never fetched" if counts["deferred"] else ""
    return (
        f"Of {counts['rows']:,} rows of the source: {told}{more}. A pair may have several reasons.\n\n"
        f"{table(['reason', 'what it means', 'pairs'], rows, 'No pair has a reason.')}"
    )


def rules(facts: Facts) -> str:
    """The policy's rules, as they stand in the manifest."""
    rows = []
    for rule in facts.manifest["policy"].get("rules", ()):
        bounds = [
            f"{word.rstrip('_')} {rule[word]}" for word in ("min", "max", "in_", "not_in", "top_fraction") if rule.get(word) is not None
        ]
        bounds += [
            f"{word} (a list of {rule[word]['values']:,} values)" for word in ("in_file", "not_in_file", "not_near_file") if rule.get(word)
        ]
        rows.append([code(rule["column"]), "; ".join(bounds), rule.get("do", "drop"), code(rule["scorer"]) if rule.get("scorer") else ""])
    return table(["column", "bound", "outside of it", "calibrated on"], rows, "The policy has no rules.")


def scorers(facts: Facts) -> str:
    """What measured, with its version."""
    rows = [[code(one["name"]), code(one["version"])] for one in facts.manifest["scorers"]]
    rows += [[code(name), code(f"column function {number}")] for name, number in facts.manifest["column_functions"].items()]
    return table(["scorer", "version"], rows)


RARE: Final = 0.03  # of captions: below it a language is as likely a mistake about short captions of another


def languages(facts: Facts) -> list[tuple[str, int]]:
    """Languages of captions by how often they were found, without the undetermined and those below RARE."""
    found = [(word, count) for word, count in facts.languages.items() if word not in ("und", "zxx")]
    return sorted((one for one in found if one[1] >= RARE * facts.captions_looked_at), key=lambda one: (-one[1], one[0]))


def languages_told(facts: Facts) -> str:
    if not facts.captions_looked_at:
        return "no caption, so no language"
    of = "all captions" if facts.captions_looked_at == facts.pairs else f"{facts.captions_looked_at:,} captions, a sample by hash"
    told = ", ".join(f"{word} {100 * count / facts.captions_looked_at:.0f} %" for word, count in languages(facts))
    undetermined = facts.languages["und"]
    return (
        f"{told or 'none determined'}; undetermined {share(undetermined, facts.captions_looked_at)}; by py3langid, over {of}; languages below "
        f"{RARE * 100:.0f} % are not named"
    )


def measured(facts: Facts) -> str:
    """What was found in pictures that may concern people."""
    rows = [[text, share(holds, of), f"{of:,}"] for text, (holds, of) in facts.measured.items()]
    return table(["what", "pairs", "of so many measured"], rows, "Not measured.")


def captions(facts: Facts) -> str:
    """Where the captions come from."""
    told = facts.manifest.get("captions")
    if told is None:
        return "Captions are as the sources have them."
    origin, name = told["origin"] or {}, code(told["version"])
    if "model" in origin:
        settings = ", ".join(f"{key} {value}" for key, value in sorted((origin.get("settings") or {}).items()) if value is not None)
        where = (
            f"generated by the model {code(origin['model'])}, weights {code(origin['weights'][:12])}{f' ({settings})' if settings else ''}"
        )
    else:
        files = ", ".join(f"{code(file['name'])} ({code(file['sha256'][:12])})" for file in origin.get("files", ()))
        where = f"read from {files or 'something unknown'}; how they were made is not known"
    return f"Captions are version {name}, {where}. The sources' own are in the JSON of each pair, as {code('caption.source')}."


def redaction(facts: Facts) -> str:
    """What became of personal data in captions."""
    if (facts.manifest["policy"].get("captions") or {}).get("personal_data") == "redact":
        return (
            "E-mail addresses and numbers of phones, cards, accounts and ids that were found in captions and in the text beside them are "
            "replaced by their kind in brackets. Names of people are not."
        )
    if facts.manifest.get("captions") is not None:
        return "Personal data in captions was not replaced."
    return "Captions are as the source has them; personal data in them was not replaced."


def collection(facts: Facts) -> str:
    """How the pairs were come by, from what fetching was told and noted."""
    sources = ", ".join(code(name) for name in facts.sources) or "not known"
    lines = [f"Source: {sources}."]
    if facts.requested is not None:
        first, last = facts.requested
        when = f"on {first}" if first == last else f"from {first} to {last}"
        lines.append(f"Images were fetched {when} (UTC); those of kept pairs from {len(facts.hosts):,} hosts.")
    else:
        lines.append("Images were read from files; nothing was asked for over a network.")
    statuses = ", ".join(f"{count:,} {code(word)}" for word, count in facts.statuses.items())
    lines.append(f"Rows by what came of fetching: {statuses or 'none'}.")
    return " ".join(lines)


def optouts(facts: Facts) -> str:
    """How reservations of rights were treated, and what is left of them."""
    how = {
        "obey": "Reservations were obeyed while fetching: robots.txt (RFC 9309), X-Robots-Tag, TDMRep, C2PA and IPTC/PLUS metadata; what a site or a "
        "file forbids was not asked for, or not stored.",
        "record": "Reservations were recorded while fetching, not obeyed; the policy decides about them.",
    }.get(str(facts.fetch.get("optouts")), "Whether reservations were obeyed while fetching is not known.")
    reasons = facts.manifest["funnel"]["reasons"]
    dropped = ", ".join(f"{count:,} {code(reason)}" for reason, count in reasons.items() if reason.startswith("optout:"))
    forbidden = facts.optouts["disallowed"]
    return (
        f"{how} Not kept for that reason: {dropped or 'none'}. Of the kept pairs {forbidden:,} are forbidden, {facts.optouts['allowed']:,} "
        f"expressly allowed, and of {facts.optouts[None]:,} neither site nor file said anything."
    )
