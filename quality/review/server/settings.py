"""How people work through the tasks: what a lead may change, with defaults and bounds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, select

from quality.review.server.models import settings as table
from schemas.reviews import QUEUES

DEALT: Final = tuple(queue for queue in QUEUES if queue != "gold")  # gold items come by their share


def _setting(default: Any, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


@dataclass(frozen=True)
class Settings:
    """Bounds are inclusive."""

    blur_side: int = _setting(24, 0, 256, "pixels that a blurred image keeps on its longer side; 0 shows images sharp")
    grey: bool = field(default=False, metadata={"meaning": "images begin without colour"})
    exposure_cap: int = _setting(300, 1, 100_000, "images that one person is shown in a sitting, then a rest")
    rest_minutes: int = _setting(20, 1, 1440, "a rest of this many minutes ends a sitting")
    overlap_share: float = _setting(0.1, 0.0, 1.0, "share of tasks that two people answer, without seeing each other's answer")
    gold_share: float = _setting(0.05, 0.0, 0.5, "share of a person's items whose answer is known")
    timeout_minutes: int = _setting(30, 1, 1440, "an item that is not answered for this many minutes goes to somebody else")
    held: int = _setting(3, 2, 20, "items that one person holds at a time, with those loaded ahead")
    queues: tuple[str, ...] = field(default=DEALT, metadata={"meaning": "queues that are handed out"})

    def changed(self, values: Mapping[str, Any]) -> "Settings":
        """With other values, as numbers or text. Raises ValueError with name, value and bounds."""
        found: dict[str, Any] = {}
        for each in fields(self):
            if each.name in values:
                found[each.name] = _checked(each.name, values[each.name], type(each.default), each.metadata.get("range"))
        unknown = values.keys() - found.keys()
        if unknown:
            raise ValueError(f"unknown setting {sorted(unknown)[0]!r}; there are {', '.join(each.name for each in fields(self))}")
        return replace(self, **found)


def _checked(name: str, value: Any, kind: type, bounds: tuple[float, float] | None) -> Any:
    if kind is tuple:
        words = tuple(value.split(",")) if isinstance(value, str) else tuple(value)
        if not words or set(words) - set(DEALT):
            raise ValueError(f"{name} is one or more of {', '.join(DEALT)}; got {','.join(words)!r}")
        return tuple(queue for queue in DEALT if queue in words)
    if kind is bool:
        if value not in (True, False, "1", "0"):
            raise ValueError(f"{name} is 1 or 0; got {value!r}")
        return value in (True, "1")
    assert bounds is not None
    try:
        number = kind(value)
    except ValueError:
        number = None
    if number is None or not bounds[0] <= number <= bounds[1]:
        raise ValueError(f"{name} is {'a whole number' if kind is int else 'a number'} from {bounds[0]:g} to {bounds[1]:g}; got {value!r}")
    return number


STORED: Final = select(table.c.value).where(table.c.name == "settings").scalar_subquery()  # for statements that read them by the way


def read_settings(connection: Connection) -> Settings:
    return settings_of(connection.execute(select(STORED)).scalar())


@lru_cache(8)
def settings_of(stored: str | None) -> Settings:
    """The settings, from what the database holds of them: JSON, or None where nobody has changed any."""
    return Settings() if stored is None else Settings().changed(json.loads(stored))


def write_settings(connection: Connection, value: Settings) -> None:
    put_value(connection, "settings", json.dumps(asdict(value), sort_keys=True))


def put_value(connection: Connection, name: str, value: str) -> None:
    """Sets one row of the table of settings, which also holds the schema's version and what was loaded."""
    found = connection.execute(table.update().where(table.c.name == name).values(value=value))
    if not found.rowcount:
        connection.execute(table.insert().values(name=name, value=value))


def value_of(connection: Connection, name: str) -> str | None:
    return connection.execute(select(table.c.value).where(table.c.name == name)).scalar()
