"""Up-scaling by a super-resolution checkpoint of diffusers, one picture at a time: the same whatever else is up-scaled."""

import inspect
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from training.generation.draw import GenerationError


class Upscaler:
    """A pipeline that takes an image and gives a larger one: StableDiffusionUpscalePipeline, LDMSuperResolutionPipeline and their kind.

    steps: of denoising, None for the pipeline's own. Raises GenerationError for a pipeline that takes no image.
    """

    def __init__(self, pipeline: DiffusionPipeline, *, steps: int | None = None):
        self.pipeline, self.steps = pipeline, steps
        self._takes = inspect.signature(pipeline.__call__).parameters
        if "image" not in self._takes or "strength" in self._takes or "mask_image" in self._takes:
            raise GenerationError(
                f"{type(pipeline).__name__} is no super-resolution pipeline; give a folder of a StableDiffusionUpscalePipeline or an "
                "LDMSuperResolutionPipeline"
            )

    def larger(self, image: Image.Image, *, prompt: str, negative: str | None, seed: int) -> Image.Image:
        """The image up-scaled. Raises GenerationError where the pipeline gives one that is no larger."""
        options: dict[str, Any] = {"generator": torch.Generator("cpu").manual_seed(seed)}
        if "prompt" in self._takes:
            options["prompt"] = prompt
        if negative and "negative_prompt" in self._takes:
            options["negative_prompt"] = negative
        if self.steps is not None:
            options["num_inference_steps"] = self.steps
        try:
            found = self.pipeline(image=image.convert("RGB"), **options).images[0]
        except ValueError as error:  # of a picture that is too small for it
            raise GenerationError(
                f"{type(self.pipeline).__name__} cannot take {image.width}x{image.height} px ({error}); draw with --size"
            ) from error
        if found.width <= image.width or found.height <= image.height:
            raise GenerationError(
                f"{type(self.pipeline).__name__} made {found.width}x{found.height} of {image.width}x{image.height}: it does not up-scale"
            )
        return found
