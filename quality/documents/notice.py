"""NOTICE: what a release owes, licence by licence, as text that travels with the pairs; and the same as Markdown, OBLIGATIONS.md."""

from quality.documents.facts import Facts
from quality.documents.obligations import CLASS_TEXT, DUTIES, url_of_license
from quality.documents.text import code, licences, share, table


def notice(facts: Facts) -> str:
    """Plain text, 80 columns at most where names allow it."""
    lines = [
        facts.name,
        f"Release {facts.manifest['release']}, digest {facts.manifest['digest']}",
        f"Made with Pigment {facts.manifest['pigment']}",
        "",
        f"This collection holds {facts.pairs:,} pictures and captions. Each stands under the licence",
        "that its source states; the collection changes none of them.",
        "",
    ]
    for terms in facts.terms:
        lines += [
            f"{terms.pairs:>12,}  {terms.spdx}",
            f"{'':14}{url_of_license(terms.spdx) or 'the text: as the source says, see license_url'}",
        ]
        lines += [f"{'':14}asks for: {', '.join(terms.duties) or 'nothing that its text states'}"]
    lines += [
        "",
        f"Title, author, source and licence of {facts.attributed:,} of them are in ATTRIBUTION.csv and",
        "ATTRIBUTION.html, which have to be handed on with the pictures.",
        "Pictures may have been made smaller and converted; metadata inside of the files",
        "has been taken out.",
    ]
    return "\n".join(lines) + "\n"


def obligations(facts: Facts) -> str:
    """What who publishes, and who trains, must do."""
    by_duty = {duty: sum(terms.pairs for terms in facts.terms if duty in terms.duties) for duty in DUTIES}
    rows = [[duty, share(pairs, facts.pairs), *DUTIES[duty]] for duty, pairs in by_duty.items() if pairs]
    classes = {class_: sum(terms.pairs for terms in facts.terms if terms.class_ == class_) for class_ in CLASS_TEXT}
    unnamed = [
        [code(terms.spdx), f"{terms.pairs:,}", *(f"{terms.pairs - terms.named[what]:,}" for what in ("title", "author", "source"))]
        for terms in facts.terms
        if terms.needs_attribution
    ]
    return "\n\n".join(
        [
            f"# Obligations: {facts.name}",
            "Read from the licences that the sources state, by pair; not legal advice, and no better than what the sources say.",
            "## What follows",
            table(["duty", "pairs", "who publishes pairs", "who trains on them"], rows, "No licence in this release states a duty."),
            "## By licence",
            licences(facts),
            "## By class",
            table(
                ["class", "pairs", "what it means"],
                [[class_, share(pairs, facts.pairs), CLASS_TEXT[class_]] for class_, pairs in classes.items() if pairs],
            ),
            "## What is missing for attribution",
            f"Of the {facts.attributed:,} pairs that need it; what is missing stands as “unknown” in ATTRIBUTION.csv.",
            table(["licence", "pairs", "without title", "without author", "without source"], unnamed),
        ]
    ) + "\n"  # fmt: skip
