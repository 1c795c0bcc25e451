"""Cards of the packaged scorers, as Markdown, from their fields, versions and MODEL_NOTICES.md."""

import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

from quality.pages import table
from quality.scorers import make_scorers
from quality.scorers.protocol import Scorer, reads_captions
from schemas.columns import range_of

NOTICES: Final = Path(__file__).parents[2] / "MODEL_NOTICES.md"
# Headings of MODEL_NOTICES.md, by scorer; the packaged scorers that are not here run no model.
MODELS: Final[Mapping[str, tuple[str, ...]]] = {
    "embed": ("EfficientNet-Lite0", "all-MiniLM-L6-v2", "Embedded CLIP"),
    "nsfw": ("Open-NSFW", "LAION's NSFW heads"),
    "faces": ("BlazeFace",),
}


def cards() -> str:
    """What quality/scorers/README.md holds between its marks. The version's part behind the model's name, which holds those of installed packages, is
    left out."""
    return "\n\n".join(_card(scorer) for scorer in make_scorers())


def _card(scorer: Scorer) -> str:
    needs = ", ".join(f"`{name}`" for name in scorer.needs) or ("bytes and captions" if reads_captions(scorer) else "bytes")
    module = sys.modules[type(scorer).__module__]
    first = inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    file = Path(inspect.getfile(type(scorer))).name
    facts = [
        ("model, for a policy", f"`{scorer.name}:{scorer.version.partition('@')[0]}`"),
        ("needs", needs),
        *[("weights and licence", line) for line in _models(scorer.name)],
        ("code", f"[{file}]({file})"),
    ]
    columns = table(("column", "type", "range", "better", "meaning"), [_column(scorer.name, field) for field in scorer.fields])
    return f"### `{scorer.name}`\n\n{first}\n\n{table(('', ''), facts)}\n{columns}".strip()


def _column(scorer: str, field: pa.Field) -> tuple[str, ...]:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    low, high = range_of(field)
    bounds = "" if low is None and high is None else f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"
    return (f"`{scorer}.{field.name}`", f"`{field.type}`", bounds, metadata.get("better", ""), metadata.get("meaning", ""))


def _models(name: str) -> list[str]:
    """Each model's heading and what the notices say of its weights. Raises KeyError when a heading is gone."""
    notices = dict(re.findall(r"(?ms)^## (.+?)\n(.+?)(?=^## |\Z)", NOTICES.read_text("utf-8")))
    found = []
    for start in MODELS.get(name, ()):
        heading = next((heading for heading in notices if heading.startswith(start)), None)
        if heading is None:
            raise KeyError(f"MODEL_NOTICES.md has no section {start!r}")
        weights = re.search(r"(?m)^\| weights \| (.+) \|$", notices[heading])
        text = weights[1] if weights else "made by this project, Apache-2.0"
        found.append(f"{start}: {text} ([notice](../../MODEL_NOTICES.md))")
    return found
