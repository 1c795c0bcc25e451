"""datasheet.md: the questions of "Datasheets for Datasets" (Gebru et al., 2021, arXiv 1803.09010v8), answered from the release or as stated."""

from collections.abc import Sequence

from quality.documents import text
from quality.documents.about import NOT_STATED
from quality.documents.facts import Facts

Answers = Sequence[tuple[str, str]]  # (question, answer)


def datasheet(facts: Facts) -> str:
    """Every question of the paper, in its order. What neither the release nor about.toml answers is "not stated"."""
    parts = [
        f"# Datasheet: {facts.name}",
        "The questions are those of Datasheets for Datasets (Gebru et al., Communications of the ACM 64(12), 2021; arXiv 1803.09010). Figures "
        "are counted from the release's files; other answers are what its makers stated in about.toml; “not stated” is what they did not.",
    ]
    for section, questions in _sections(facts):
        parts.append(f"## {section}")
        for question, answer in questions:
            parts += [f"**{question}**", answer]
    return "\n\n".join(parts) + "\n"


def _sections(facts: Facts) -> list[tuple[str, Answers]]:
    sections = {
        "Motivation": _motivation,
        "Composition": _composition,
        "Collection process": _collection,
        "Preprocessing, cleaning, labeling": _preprocessing,
        "Uses": _uses,
        "Distribution": _distribution,
        "Maintenance": _maintenance,
    }
    return [(title, answers(facts)) for title, answers in sections.items()]


def _motivation(facts: Facts) -> Answers:
    said = facts.about.said
    return [
        ("For what purpose was the dataset created?", said("purpose")),
        ("Who created the dataset and on behalf of which entity?", said("creator")),
        ("Who funded the creation of the dataset?", said("funding")),
        ("Any other comments?", said("description")),
    ]


def _composition(facts: Facts) -> Answers:
    said, manifest = facts.about.said, facts.manifest
    faces = facts.measured.get("at least one face was found")
    found = "Faces were not looked for" if faces is None else f"Faces were found in {faces[0]:,} of {faces[1]:,} pictures"
    missing = [
        f"{facts.pairs - sum(terms.named[what] for terms in facts.terms):,} without {what}" for what in ("author", "title", "source")
    ]
    return [
        (
            "What do the instances that comprise the dataset represent?",
            f"Pictures with captions. Types of content: {said('types_of_content')}.",
        ),
        ("How many instances are there in total?", f"{facts.pairs:,} pairs."),
        (
            "Does the dataset contain all possible instances or is it a sample from a larger set?",
            f"A selection by policy {text.code(manifest['policy']['name'])}, not a random sample. {text.decided(facts)}",
        ),
        (
            "What data does each instance consist of?",
            f"An image file, its caption as text, and JSON with all that is known of it. Image files: {_formats(facts)}.",
        ),
        (
            "Is there a label or target associated with each instance?",
            "A caption each; scores of models, in the index and the JSON of each pair.",
        ),
        (
            "Is any information missing from individual instances?",
            f"Of all pairs {', '.join(missing)}. Values that were not measured are null.",
        ),
        (
            "Are relationships between individual instances made explicit?",
            "No. Duplicates were dropped as the policy says; decisions/ names the better pair of each.",
        ),
        ("Are there recommended data splits?", "None are made."),
        (
            "Are there any errors, sources of noise, or redundancies in the dataset?",
            f"{_captions(facts)} Known limitations: {said('limitations')}.",
        ),
        (
            "Is the dataset self-contained, or does it link to or otherwise rely on external resources?",
            "Self-contained: the shards hold the images. Addresses of sources are told, and may be dead.",
        ),
        ("Does the dataset contain data that might be considered confidential?", said("sensitive")),
        (
            "Does the dataset contain data that, if viewed directly, might be offensive, insulting, threatening, or might otherwise cause anxiety?",
            f"Stated: {said('sensitive')}. Measured:\n\n{text.measured(facts)}",
        ),
        ("Does the dataset identify any subpopulations?", said("subpopulations")),
        (
            "Is it possible to identify individuals, either directly or indirectly, from the dataset?",
            f"{found}, and nobody was identified. {text.redaction(facts)}",
        ),
        ("Does the dataset contain data that might be considered sensitive in any way?", said("sensitive")),
        ("Any other comments?", f"Languages of captions: {text.languages_told(facts)}."),
    ]


def _collection(facts: Facts) -> Answers:
    said, manifest = facts.about.said, facts.manifest
    return [
        (
            "How was the data associated with each instance acquired?",
            f"{text.collection(facts)} Of the source: {said('source_description')}.",
        ),
        ("What mechanisms or procedures were used to collect the data?", f"Pigment {manifest['pigment']}. {text.optouts(facts)}"),
        (
            "If the dataset is a sample from a larger set, what was the sampling strategy?",
            f"A row is kept that passes the policy's rules, and is the best of its duplicates:\n\n{text.rules(facts)}",
        ),
        ("Who was involved in the data collection process and how were they compensated?", said("collection")),
        (
            "Over what timeframe was the data collected?",
            f"Fetched: {'not over a network' if facts.requested is None else ' to '.join(facts.requested)}. The works themselves: "
            f"{said('collection_period')}.",
        ),
        ("Were any ethical review processes conducted?", said("ethical_review")),
        (
            "Did you collect the data from the individuals in question directly, or obtain it via third parties or other sources?",
            f"From {len(facts.hosts):,} hosts and from files, not from individuals."
            if facts.hosts
            else "From files, not from individuals.",
        ),
        ("Were the individuals in question notified about the data collection?", said("consent")),
        ("Did the individuals in question consent to the collection and use of their data?", said("consent")),
        ("If consent was obtained, were the individuals provided with a mechanism to revoke their consent?", said("takedown")),
        ("Has an analysis of the potential impact of the dataset and its use on data subjects been conducted?", said("impact_assessment")),
        ("Any other comments?", NOT_STATED),
    ]


def _preprocessing(facts: Facts) -> Answers:
    return [
        (
            "Was any preprocessing/cleaning/labeling of the data done?",
            f"Images: {_target(facts)}; metadata inside of them were taken out. {text.redaction(facts)} People: {_people(facts)}.",
        ),
        (
            "Was the “raw” data saved in addition to the preprocessed/cleaned/labeled data?",
            "In the dataset's pool, with its makers: "
            + ("the files as they came." if facts.fetch.get("store") == "original" else "not the files as they came."),
        ),
        (
            "Is the software that was used to preprocess/clean/label the data available?",
            f"Pigment, Apache-2.0. Models:\n\n{text.scorers(facts)}",
        ),
        ("Any other comments?", NOT_STATED),
    ]


def _uses(facts: Facts) -> Answers:
    said = facts.about.said
    return [
        ("Has the dataset been used for any tasks already?", said("prior_uses")),
        ("Is there a repository that links to any or all papers or systems that use the dataset?", said("url")),
        ("What (other) tasks could the dataset be used for?", said("intended_uses")),
        (
            "Is there anything about the composition of the dataset or the way it was collected and preprocessed that might impact future uses?",
            f"Licences ask for what OBLIGATIONS.md tells. Known biases: {said('biases')}.",
        ),
        ("Are there tasks for which the dataset should not be used?", said("discouraged_uses")),
        ("Any other comments?", said("social_impact")),
    ]


def _distribution(facts: Facts) -> Answers:
    said = facts.about.said
    return [
        ("Will the dataset be distributed to third parties outside of the entity on behalf of which it was created?", said("distribution")),
        ("How will the dataset be distributed?", f"{said('distribution')}; as WebDataset tars with Parquet indexes."),
        ("When will the dataset be distributed?", said("published")),
        (
            "Will the dataset be distributed under a copyright or other intellectual property (IP) license, and/or under applicable terms of use?",
            f"The collection: {said('license')}. The pairs:\n\n{text.licences(facts)}",
        ),
        ("Have any third parties imposed IP-based or other restrictions on the data associated with the instances?", said("restrictions")),
        ("Do any export controls or other regulatory restrictions apply to the dataset or to individual instances?", said("restrictions")),
        ("Any other comments?", NOT_STATED),
    ]


def _maintenance(facts: Facts) -> Answers:
    said = facts.about.said
    return [
        ("Who will be supporting/hosting/maintaining the dataset?", said("maintainer")),
        ("How can the owner/curator/manager of the dataset be contacted?", said("contact")),
        ("Is there an erratum?", NOT_STATED),
        ("Will the dataset be updated?", said("maintenance")),
        (
            "If the dataset relates to people, are there applicable limits on the retention of the data associated with the instances?",
            f"not stated; removal: {said('takedown')}",
        ),
        (
            "Will older versions of the dataset continue to be supported/hosted/maintained?",
            f"Releases never change; {_before(facts)}. Hosting: {said('maintenance')}.",
        ),
        ("If others want to extend/augment/build on/contribute to the dataset, is there a mechanism for them to do so?", said("contact")),
        ("Any other comments?", NOT_STATED),
    ]


def _formats(facts: Facts) -> str:
    return ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(facts.suffixes.items())) or "none"


def _target(facts: Facts) -> str:
    told = {key: value for key, value in sorted(facts.manifest["target"].items()) if value is not None}
    return ", ".join(f"{key} {value}" for key, value in told.items()) or "as they came"


def _people(facts: Facts) -> str:
    reviews = facts.manifest["reviews"]
    if reviews is None:
        return "nobody reviewed pairs of this release"
    return f"pairs were reviewed; {reviews['accepted']:,} were accepted and {reviews['rejected']:,} rejected for it"


def _before(facts: Facts) -> str:
    parent = facts.manifest["parent"]
    return "this is the first of its line" if parent is None else f"the one before is {text.code(parent)}"


def _captions(facts: Facts) -> str:
    if facts.manifest.get("captions") is None:
        return "Captions and licences are as the sources have them."
    return f"{text.captions(facts)} Licences are as the sources have them."
