"""`pictures.jsonl`: what was made, one line a picture, and what of it need not be made again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training.command import Mistake, replace

INDEX: Final = "pictures.jsonl"
Line = dict[str, Any]


class IndexFileError(Mistake):
    """The index cannot be read, or belongs to other settings; the message says what to do."""


def digest_of(content: Mapping[str, Any]) -> str:
    """16 hex digits of SHA-256 over a mapping that JSON can hold; the order of its keys does not count."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]


class Index:
    """The index of a folder. A line has at least file, sha256, prompt_number, made (a digest of all that decides over the picture), kept (how
    many pictures its prompt has)."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / INDEX
        self.lines: dict[int, list[Line]] = {}
        if self.path.is_file():
            for number, text in enumerate(self.path.read_text("utf-8").splitlines(), 1):
                try:
                    line = json.loads(text)
                    self.lines.setdefault(line["prompt_number"], []).append(line)
                except (ValueError, KeyError, TypeError):
                    # What a machine that went down left of the last line is made again; anything else is no index of ours.
                    if number < len(self.path.read_text("utf-8").splitlines()):
                        raise IndexFileError(f"{self.path}:{number}: no line of an index of pictures; give another --out") from None

    def others(self, made: Mapping[int, str]) -> list[int]:
        """The prompts of `made` (digest by number) that have pictures which were made in another way."""
        return sorted(number for number, digest in made.items() if any(line["made"] != digest for line in self.lines.get(number, ())))

    def done(self, number: int, made: str) -> list[Line]:
        """The lines of a prompt whose pictures are all here as they were made; else none."""
        lines = self.lines.get(number, [])
        whole = bool(lines) and len(lines) == lines[0]["kept"] and all(line["made"] == made and self._is_here(line) for line in lines)
        return lines if whole else []

    def drop(self, number: int) -> None:
        """Forgets a prompt, and removes its pictures."""
        for line in self.lines.pop(number, []):
            (self.folder / line["file"]).unlink(missing_ok=True)

    def add(self, line: Line, data: bytes) -> None:
        """Writes a picture and then its line: a line never names a file that is not whole."""
        path = self.folder / line["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, data)
        self.lines.setdefault(line["prompt_number"], []).append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def write(self) -> None:
        """The whole index anew, in the order of prompts."""
        lines = [line for number in sorted(self.lines) for line in self.lines[number]]
        replace(self.path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())

    def _is_here(self, line: Line) -> bool:
        try:
            return hashlib.sha256((self.folder / line["file"]).read_bytes()).hexdigest() == line["sha256"]
        except OSError:
            return False


def model_digest(modules: Mapping[str, Any]) -> str:
    """16 hex digits of SHA-256 over the weights of a pipeline's networks, by name: of what is loaded, a LoRA and the dtype included.

    modules: a pipeline's components; those that hold no tensors count nothing.
    """
    digest = hashlib.sha256()
    for name in sorted(modules):
        state = getattr(modules[name], "state_dict", None)
        tensors: Mapping[str, Any] = state() if callable(state) else {}
        for key in sorted(tensors):
            tensor = tensors[key].detach().cpu().contiguous()
            digest.update(f"{name} {key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _bytes(tensor: Any) -> Any:
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
