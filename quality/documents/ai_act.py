"""ai-act-summary.md: what a release gives to the public summary of training content that the EU AI Act asks of providers of models.

The sections are those of the Commission's template: "Explanatory Notice and Template for the Public Summary of Training Content for
general-purpose AI models required by Article 53(1)(d) of Regulation (EU) 2024/1689 (AI Act)", published on 24 July 2025, adopted as C(2025) 8311
on 5 December 2025. A summary is a model's, and of all that it was trained on; this is the part that one release can answer.
"""

from typing import Final

from quality.documents import text
from quality.documents.facts import Facts

_IMAGES: Final = ((10**6, "Less than 1 million images"), (10**9, "1 million to 1 billion images"))
_MANY_IMAGES: Final = "More than 1 billion images"
_FEW_TOKENS: Final = (10**9, "Less than 1 billion tokens")
TOP: Final = 0.1  # of all hosts, by size: template, section 2.3
TOP_HOSTS: Final = 1_000  # that are named here; all are in hosts.csv. For SMEs the template asks for 5 % or 1,000, whichever is less


def summary(facts: Facts) -> str:
    """The template's sections in order. Computed, as stated in about.toml, or not stated."""
    said = facts.about.said
    when = "not over a network" if facts.requested is None else " to ".join(facts.requested)
    parts = [
        f"# Public summary of training content: {facts.name}",
        "Sections of the European Commission's template for the public summary of training content, Article 53(1)(d) of Regulation (EU) 2024/1689 "
        "(AI Act), of 24 July 2025. A summary covers all data of a model; this covers one release, and a provider joins it with the others. “Not "
        "stated” is for the provider to fill in, in about.toml. This is no legal advice.",
        f"Version of the summary: release {text.code(facts.manifest['release'])}. Last update: {said('published')}.",
        "## 1. General information",
        "### 1.1. Provider identification",
        f"Provider name and contact details: {said('provider')}.",
        f"Authorised representative name and contact details: {said('authorised_representative')}.",
        "### 1.2. Model identification",
        f"Versioned model name(s): {said('models')}. Model dependencies: {said('model_dependencies')}. Date of placement of the model on the Union "
        f"market: {said('placed_on_market')}.",
        "### 1.3. Modalities, overall training data size and other characteristics",
        text.table(
            ["modality", "training data size", "types of content"],
            [
                ["Text", _text_size(facts), "captions of the images"],
                ["Image", f"{_image_size(facts)} ({facts.pairs:,})", said("types_of_content")],
            ],
        ),
        f"Latest date of data acquisition/collection: {when if facts.requested is None else facts.requested[1]}; of the works: "
        f"{said('collection_period')}.",
        f"Description of the linguistic characteristics of the overall training data: {text.languages_told(facts)}.",
        f"Other relevant characteristics of the overall training data: {said('biases')}.",
        "## 2. List of data sources",
        "### 2.1. Publicly available datasets",
        f"List of publicly available datasets: {said('public_datasets')}. Of the source: {said('source_description')}.",
        "### 2.2. Private non-publicly available datasets obtained from third parties",
        f"2.2.1. Datasets commercially licensed by rightsholders or their representatives: {said('licensed_datasets')}.",
        f"2.2.2. Private datasets obtained from other third parties: {said('private_datasets')}.",
        "### 2.3. Data crawled and scraped from online sources",
        f"Were crawlers used by the provider or on behalf of? {_crawled(facts)} Others: {said('crawlers')}. Period: {when}.",
        text.collection(facts),
        _hosts(facts),
        "### 2.4. User data",
        f"Data from user interactions with the AI model, or with other services: {said('user_data')}.",
        "### 2.5. Synthetic data",
        f"Synthetic AI-generated data created by the provider or on their behalf: {said('synthetic_data')}.{_generated(facts)} What was measured:",
        text.table(
            ["what", "pairs", "of so many measured"],
            [[what, text.share(holds, of), f"{of:,}"] for what, (holds, of) in facts.measured.items() if "generated" in what],
            "Not measured.",
        ),
        "### 2.6. Other sources of data",
        said("other_data"),
        "## 3. Data processing aspects",
        "### 3.1. Respect of reservation of rights from text and data mining exception or limitation",
        f"Signatory to the Code of Practice for general-purpose AI models: {said('code_of_practice')}.",
        f"{text.optouts(facts)} Other measures: {said('rights_reservations')}.",
        "### 3.2. Removal of illegal content",
        f"{_blocked(facts)} Other measures: {said('illegal_content')}.",
        "### 3.3. Other information",
        f"Licences of the pairs:\n\n{text.licences(facts)}",
        text.redaction(facts),
        text.decided(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _crawled(facts: Facts) -> str:
    if not facts.hosts:
        return "Not for this release."
    name = f"Pigment {facts.manifest['pigment']}"
    return f"Yes: the images of a list of addresses were fetched by {name}; no link was followed."


def _text_size(facts: Facts) -> str:
    """No tokeniser makes more tokens than a text has bytes, and a letter has four at most; beyond that nobody has counted tokens."""
    letters, (bound, few) = f"{facts.caption_letters:,} letters", _FEW_TOKENS
    return f"{few} ({letters})" if facts.caption_letters * 4 < bound else f"{letters}; tokens were not counted"


def _image_size(facts: Facts) -> str:
    return next((word for bound, word in _IMAGES if facts.pairs < bound), _MANY_IMAGES)


def by_size(facts: Facts) -> list[tuple[str, int, int]]:
    """(host, pairs, bytes), the largest first."""
    return sorted(((host, pairs, size) for host, (pairs, size) in facts.hosts.items()), key=lambda one: (-one[2], one[0]))


def _hosts(facts: Facts) -> str:
    if not facts.hosts:
        return "No address of a pair is known."
    ordered = by_size(facts)
    top = ordered[: min(TOP_HOSTS, max(1, round(len(ordered) * TOP)))]
    rows = [[text.code(host or "none"), f"{pairs:,}", text.size(size)] for host, pairs, size in top]
    return (
        f"Most relevant host names by size of content, {len(top):,} of {len(ordered):,} (the template asks for the top 10 % of domain names; all "
        f"are in `hosts.csv`):\n\n{text.table(['host', 'images', 'size'], rows)}"
    )


def _blocked(facts: Facts) -> str:
    stopped = facts.manifest["funnel"]["reasons"].get("list:blocked", 0)
    listed = f"{stopped:,} pairs were stopped by block lists of hashes, addresses or domains." if stopped else (
        "No pair was stopped by a block list; whether lists were used, a release does not say."
    )  # fmt: skip
    reasons = facts.manifest["funnel"]["reasons"]
    unsafe = {reason: count for reason, count in reasons.items() if reason.startswith(("nsfw:", "deepfake:"))}
    return (
        f"{listed} Reasons of safety: {', '.join(f'{count:,} {text.code(reason)}' for reason, count in sorted(unsafe.items())) or 'none'}."
    )


def _generated(facts: Facts) -> str:
    """Captions that a model wrote are such data."""
    return f" {text.captions(facts)}" if "model" in ((facts.manifest.get("captions") or {}).get("origin") or {}) else ""
