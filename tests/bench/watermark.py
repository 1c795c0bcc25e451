"""What an invisible watermark outlives: found of the photographs that packages carry, marked by the tests' own encoder.

    python -m tests.bench.watermark

Photographs are made smaller to 1,024 pixels, as generators write, marked as the scheme's tool does, and changed. The
encoder stands for the package's, whose blocks carry the same bit in 99.85 % (tests.trust.watermarks). Pixels are decoded whole.

Found of 30, SDXL as diffusers writes it / SD 1: as written 30 / 30; JPEG 95 19 / 12; JPEG 90 6 / 3; JPEG 75 0 / 1; JPEG 50 0 / 0; JPEG 90 without
chroma subsampling 30 / 30; WebP 90 29 / 19; scaled by 0.9 or cropped by 5 % on all sides 0 / 0; cropped at the bottom 30 / 30; none before.
"""

import cv2
import numpy as np

from quality.evidence.watermark import SCHEMES, decode
from tests.trust.changes import Change, cropped, cut_at_the_bottom, jpeg, photographs, resized, webp
from tests.trust.photographs import PHOTOGRAPHS
from tests.trust.watermarks import marked

LONGEST = 1024  # pixels
MARKS = (("stable-diffusion-xl", "floats"), ("stable-diffusion-1", "bytes"))  # as diffusers and as CompVis write them
CHANGES: dict[str, Change] = {
    "as written": lambda image: image,
    "JPEG 95": jpeg(95),
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
    "JPEG 50": jpeg(50),
    "JPEG 90, chroma whole": jpeg(90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "WebP 90": webp(90),
    "resize 0.9": resized(0.9),
    "crop 5 % a side": cropped(0.05),
    "cut 5 % at the bottom": cut_at_the_bottom(0.05),
}


def main() -> None:
    cv2.setNumThreads(1)
    images = photographs(LONGEST)
    print(f"{len(images)} of {len(PHOTOGRAPHS)} photographs are installed; watermarks found in them as they are: {found(images)}")
    print(f"{'':24s}" + "".join(f"{scheme:>22s}" for scheme, _ in MARKS))
    pictures = {scheme: [marked(image, SCHEMES[scheme].bits, plane) for image in images] for scheme, plane in MARKS}
    for name, change in CHANGES.items():
        counts = [found([change(image) for image in pictures[scheme]], scheme) for scheme, _ in MARKS]
        print(f"{name:24s}" + "".join(f"{count:22d}" for count in counts))


def found(images: list[np.ndarray], scheme: str | None = None) -> int:
    """In how many images that scheme is found; None: any."""
    marks = [decode(image) for image in images]
    return sum(mark is not None and scheme in (None, mark.scheme) for mark in marks)


if __name__ == "__main__":
    main()
