"""What img2dataset_fetcher and img2dataset_child say to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.fetch.img2dataset_opener import Asked
from pipelines.fetch.store import Outcome


@dataclass(frozen=True)
class Asking:
    """One url of a round. number: the first of its rows. claims: of each of its rows (store.stored_as_claimed)."""

    number: int
    url: str
    claims: tuple[str | None, ...]
    signals: Mapping[str, bool]


@dataclass(frozen=True)
class Round:
    """delays: seconds that hosts ask for between two requests of this process, by Image.host. seconds: until the unit's time is up.

    others_s: seconds until something else of the unit is to be asked for, after which the round does not wait for hosts; None: nothing is.
    """

    asking: Sequence[Asking]
    delays: Mapping[str, float]
    seconds: float
    others_s: float | None


@dataclass(frozen=True)
class Looking:
    """The image of a url is about to be looked at: a process that ends now was ended by it."""

    number: int


@dataclass(frozen=True)
class Told:
    """What became of a url: the answer where it was no body, else an outcome for each of its rows, and the bytes of those that are a success."""

    number: int
    asked: Asked
    outcomes: Sequence[Outcome] = ()
    data: bytes | None = None


@dataclass(frozen=True)
class GivenBack:
    """A url was not asked for, since its host has to be waited for while there is other work; another round asks for it."""

    number: int


@dataclass(frozen=True)
class Broken:
    """A bug, as text."""

    text: str


@dataclass(frozen=True)
class Done:
    """The round is over, or the process has started."""
