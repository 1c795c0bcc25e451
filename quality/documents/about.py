"""What only people know of a dataset: a TOML file of theirs, `about.toml`. What it does not say, the documents call not stated."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from quality.command import UsageError
from schemas.store import Store

NOT_STATED: Final = "not stated"
ABOUT: Final = "about.toml"  # in the dataset's folder

KEYS: Final = {
    "name": "what the dataset is called",
    "description": "what it is, in a sentence or two",
    "version": "of the dataset, as its makers count",
    "published": "the date of publication",
    "url": "the page of the dataset",
    "creator": "who made it",
    "contact": "whom to write to",
    "funding": "who paid for it",
    "license": "of the collection as a whole, beside the licences of its pairs",
    "citation": "how to cite it",
    "keywords": "words to find it by, a list",
    "purpose": "what it was made for",
    "intended_uses": "what it should be used for",
    "discouraged_uses": "what it should not be used for",
    "prior_uses": "what it has been used for already",
    "source_description": "what the source lists or files are, and who made them",
    "collection": "how the source was come by, and who was involved",
    "collection_period": "when the works were collected, where that is not when they were fetched",
    "consent": "whether the people concerned were told, and agreed",
    "ethical_review": "whether somebody reviewed it, and what came of it",
    "impact_assessment": "what was found about its effects on the people in it",
    "subpopulations": "which groups of people it shows, and how that is known",
    "sensitive": "what in it may be confidential, sensitive or offensive",
    "biases": "known biases",
    "limitations": "known limitations",
    "social_impact": "expected effects on society",
    "annotators": "who reviewed pairs, and how they were paid",
    "distribution": "how and when it is given to others",
    "restrictions": "of intellectual property, export or the like, beside the licences",
    "maintainer": "who keeps it",
    "maintenance": "how and how often it is updated and corrected",
    "takedown": "how an owner asks for a pair to be removed",
    "provider": "AI Act 1.1: name and contact of the provider of the model",
    "authorised_representative": "AI Act 1.1: in the Union",
    "models": "AI Act 1.2: versioned names of the models that are trained on it",
    "model_dependencies": "AI Act 1.2: the model that they are derived from",
    "placed_on_market": "AI Act 1.2: the date of placement on the Union market",
    "types_of_content": "AI Act 1.3: photographs, drawings, …",
    "public_datasets": "AI Act 2.1: publicly available datasets that the source is, with links",
    "licensed_datasets": "AI Act 2.2.1: data licensed by rightsholders",
    "private_datasets": "AI Act 2.2.2: private datasets from other third parties",
    "crawlers": "AI Act 2.3: names of crawlers other than Pigment's fetcher",
    "user_data": "AI Act 2.4: whether data of users was used",
    "synthetic_data": "AI Act 2.5: data made by a model, and which",
    "other_data": "AI Act 2.6: other sources",
    "code_of_practice": "AI Act 3.1: whether the provider has signed the code of practice",
    "rights_reservations": "AI Act 3.1: measures beside those that the release shows",
    "illegal_content": "AI Act 3.2: measures beside those that the release shows",
}


class About(Mapping[str, str]):
    """What was stated, by key of KEYS; any other key of KEYS is not in it."""

    def __init__(self, stated: Mapping[str, str]):
        self._stated = dict(stated)

    def __getitem__(self, key: str) -> str:
        assert key in KEYS, key
        return self._stated[key]

    def __iter__(self):
        return iter(self._stated)

    def __len__(self) -> int:
        return len(self._stated)

    def said(self, key: str) -> str:
        """What was stated, or that it was not."""
        return self.get(key, NOT_STATED)


def parse_about(text: str, where: str) -> About:
    """Raises UsageError for what is no TOML, and for a key that has no place in the documents."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not TOML: {error}") from error
    unknown = sorted(data.keys() - KEYS.keys())
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    return About({key: _text(value, key, where) for key, value in data.items()})


def _text(value: object, key: str, where: str) -> str:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    if isinstance(value, date):
        return value.isoformat()
    if key == "published":
        try:
            return date.fromisoformat(str(value).strip()).isoformat()
        except ValueError as error:
            raise UsageError(f"{where}: published must be a date such as 2026-05-01") from error
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: {key} must be a text, a date or a list of texts ({KEYS[key]}); leave it out where nothing is known")
    return value.strip()


def read_about(store: Store, file: str | None = None) -> About:
    """What `file` says, else about.toml in the dataset, else nothing. Raises UsageError.

    A file that is given is kept as the dataset's about.toml, for the releases to come.
    """
    if file is None:
        try:
            return parse_about(_decoded(store.read(ABOUT), store.path_of(ABOUT)), store.path_of(ABOUT))
        except FileNotFoundError:
            return About({})
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"--about {file}: {error.strerror or error}") from error
    about = parse_about(_decoded(data, file), file)
    store.put(ABOUT, data)
    return about


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8: {error}") from error
