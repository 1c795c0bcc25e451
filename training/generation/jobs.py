"""One job: prompts into a folder of pictures, their index and a contact sheet. What is there already, made in the same way, is not made again."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
from PIL import Image

from training.command import Mistake, replace
from training.generation.draw import Picture, Settings, noise_seed, pictures
from training.generation.fonts import font_for, lacks
from training.generation.index import Index, Line, digest_of
from training.generation.marking import COMPOSITE, png, xmp
from training.generation.ranking import Ranker
from training.generation.sheet import Row, sheets
from training.generation.upscaling import Upscaler

PROGRAM: Final = "Pigment"
_TOLD: Final = 2000  # characters of all prompts that a sheet's metadata has


class OtherSettings(Mistake):
    """The folder has pictures of these prompts that were made in another way; the message says what to do."""


@dataclass(frozen=True)
class Model:
    """What draws, for the record. name: as a person would call it. digest: of the weights."""

    pipeline: Any
    name: str
    digest: str
    dtype: str


@dataclass(frozen=True)
class Enlarger:
    """What up-scales, for the record."""

    upscaler: Upscaler
    name: str
    digest: str


class Job:
    """Pictures of `prompts` into `folder`. overwrite: what is there and was made in another way, else it is refused (OtherSettings)."""

    def __init__(
        self,
        prompts: Sequence[str],
        folder: Path,
        *,
        model: Model,
        settings: Settings,
        ranker: Ranker | None,
        enlarger: Enlarger | None = None,
        overwrite: bool = False,
    ):
        self.prompts, self.model, self.settings, self.ranker, self.enlarger = prompts, model, settings, ranker, enlarger
        self.index = Index(folder)
        self.made = {number: digest_of({"prompt": prompt, **self._record()}) for number, prompt in enumerate(prompts)}
        other = self.index.others(self.made)
        if other and not overwrite:
            raise OtherSettings(
                f"{folder} has pictures of {len(other)} of these prompts that were made with another model, seed, text or setting "
                f"(the first: prompt {other[0]}); "
                "give another --out, or --overwrite to replace them"
            )
        self.missing = [number for number, digest in self.made.items() if not self.index.done(number, digest)]
        folder.mkdir(parents=True, exist_ok=True)

    def _record(self) -> Line:
        """All that decides over the pictures but prompt and number, as it stands in the index."""
        settings = asdict(self.settings)
        enlarged = (
            {}
            if self.enlarger is None
            else {"upscaler": f"{self.enlarger.name} {self.enlarger.digest}", "upscale_steps": self.enlarger.upscaler.steps}
        )
        return {
            "model": self.model.name,
            "model_digest": self.model.digest,
            "dtype": self.model.dtype,
            **settings,
            "ranker": None if self.ranker is None else self.ranker.name,
            **enlarged,
        }

    def draw(self, *, batch: int, drawn: Callable[[int], None]) -> None:
        """Draws what is missing; each picture is on disk, with its line, before the next batch."""
        for number in self.missing:
            self.index.drop(number)
        if self.missing:
            self.index.write()
        for picture in pictures(
            self.model.pipeline,
            self.prompts,
            **vars(self.settings),
            batch=batch,
            ranker=self.ranker,
            numbers=self.missing,
            drawn=drawn,
        ):
            image, seed = picture.image, noise_seed(self.settings.seed, picture.number, picture.candidate)
            if self.enlarger is not None:
                image = self.enlarger.upscaler.larger(image, prompt=picture.prompt, negative=self.settings.negative, seed=seed)
            data = png(image, self._packet(picture))
            line = {
                "file": f"pictures/{picture.number:05d}-{picture.candidate:03d}.png",
                "sha256": hashlib.sha256(data).hexdigest(),
                "prompt_number": picture.number,
                "prompt": picture.prompt,
                "candidate": picture.candidate,
                "score": picture.score,
                "scores": list(picture.scores),
                "kept": picture.kept,
                **self._record(),
                "width": image.width,
                "height": image.height,
                "made": self.made[picture.number],
            }
            self.index.add(line, data)

    def _packet(self, picture: Picture) -> str:
        record = self._record() | {"candidate": picture.candidate, "promptNumber": picture.number, "score": picture.score}
        size = record.pop("size")
        told = {_camel(name): value for name, value in record.items()} | {"prompt": picture.prompt}
        told["size"] = None if size is None else "x".join(map(str, size))
        told["negativePrompt"] = told.pop("negative")
        return xmp(
            system=f"{PROGRAM} {self.model.name}",
            version=self.model.digest,
            prompt=picture.prompt if self.settings.negative is None else f"{picture.prompt}\nNegative prompt: {self.settings.negative}",
            program=_program(),
            settings=told,
        )

    def empty(self) -> list[int]:
        """Prompts that have no picture: the pipeline's safety checker blanked all their candidates."""
        return [number for number in self.made if not self.index.lines.get(number)]

    def write_sheets(self, font: str | Path | None) -> tuple[list[Path], list[int]]:
        """Writes the contact sheets; returns them, and the prompts whose letters no font has. Raises FontError."""
        wanted = [(number, lines) for number in self.made if (lines := self.index.lines.get(number))]
        if not wanted:
            return [], []
        file = font_for([self.prompts[number] for number, _ in wanted], file=font)
        rows = [Row(self.prompts[number], [self._image(line) for line in lines], _note(lines), number) for number, lines in wanted]
        told = "; ".join(self.prompts[number] for number, _ in wanted)
        packet = xmp(
            system=f"{PROGRAM} {self.model.name}",
            version=self.model.digest,
            prompt=told if len(told) <= _TOLD else told[:_TOLD] + "…",
            program=_program(),
            source_type=COMPOSITE,
        )
        paths = []
        for number, sheet in enumerate(sheets(rows, file), 1):
            paths.append(self.index.folder / ("sheet.png" if number == 1 else f"sheet-{number}.png"))
            replace(paths[-1], png(sheet, packet))
        return paths, [number for number, _ in wanted if lacks(file, self.prompts[number])]

    def _image(self, line: Line) -> Image.Image:
        with Image.open(io.BytesIO((self.index.folder / line["file"]).read_bytes())) as image:
            return image.convert("RGB")


def _note(lines: Sequence[Line]) -> str:
    scores = [f"{line['score']:.3f}" for line in lines if line["score"] is not None]
    return f"CLIP {' '.join(scores)}, best of {lines[0]['candidates']}" if scores else ""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _program() -> str:
    return f"{PROGRAM} training.generate, diffusers {diffusers.__version__}"
