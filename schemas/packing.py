"""How weights that are committed are stored: whole numbers of 8 bits, with what one is worth in each row."""

from collections.abc import Iterator, Mapping

import torch

SCALE = ".scale"  # ends the name of what one is worth in each row of a tensor of whole numbers


def packed(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A tensor of two or more dimensions as int8, and a half float a row."""
    rows = tensor.flatten(1)
    scale = (rows.abs().amax(1) / 127).clamp(min=1e-7).half()
    yield name, (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).reshape(tensor.shape).contiguous()
    yield name + SCALE, scale


def unpacked(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `packed` made, and plain half floats, as float32."""

    def whole(name: str, tensor: torch.Tensor) -> torch.Tensor:
        scale = tensors.get(name + SCALE)
        return tensor.float() if scale is None else tensor.float() * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))

    return {name: whole(name, tensor) for name, tensor in tensors.items() if not name.endswith(SCALE)}
