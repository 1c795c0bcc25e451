"""What happens to pictures on their way through the web: each change takes RGB uint8 pixels and returns RGB uint8 pixels."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from quality.images.decode import decode
from tests.scoring import SAMPLE
from tests.trust.photographs import installed

Change = Callable[[np.ndarray], np.ndarray]
LONGEST: Final = 1600  # pixels of a photograph's longer side; larger ones are made smaller before they are changed


def jpeg(quality: int, sampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420) -> Change:
    """Saved as JPEG and decoded as Pigment does."""

    def change(image: np.ndarray) -> np.ndarray:
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        return decode(cv2.imencode(".jpg", image[:, :, ::-1], flags)[1].tobytes())

    return change


def resized(factor: float) -> Change:
    return lambda image: cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def cropped(share: float) -> Change:
    """share: of width and height, cut off on each of the four sides."""

    def change(image: np.ndarray) -> np.ndarray:
        rows, columns = (max(1, round(length * share)) for length in image.shape[:2])
        return np.ascontiguousarray(image[rows:-rows, columns:-columns])

    return change


def brightened(factor: float) -> Change:
    return lambda image: cv2.convertScaleAbs(image, alpha=factor)


def captioned(image: np.ndarray) -> np.ndarray:
    """A black band over the lowest eighth with a line of white text."""
    result = image.copy()
    height, width = image.shape[:2]
    band = max(1, height // 8)
    result[-band:] = 0
    scale = band / 40
    cv2.putText(result, "WHEN IT IS MONDAY AGAIN", (width // 20, height - band // 3), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1)
    return result


def rotated(degrees: float) -> Change:
    """About the middle, at the same size; the corners repeat the edge."""

    def change(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        return cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    return change


def webp(quality: int) -> Change:
    """Saved as lossy WebP and decoded."""
    return lambda image: decode(cv2.imencode(".webp", image[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())


def cut_at_the_bottom(share: float) -> Change:
    return lambda image: np.ascontiguousarray(image[: -max(1, round(len(image) * share))])


def mirrored(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


CHANGES: Final[dict[str, Change]] = {
    "JPEG 90": jpeg(90),
    "JPEG 75": jpeg(75),
    "JPEG 50": jpeg(50),
    "resize 0.9": resized(0.9),
    "resize 0.5": resized(0.5),
    "crop 5 % (2.5 % a side)": cropped(0.025),
    "crop 5 % a side": cropped(0.05),
    "brightness 1.2": brightened(1.2),
    "brightness 0.8": brightened(0.8),
    "caption overlay": captioned,
    "rotation 2 degrees": rotated(2),
    "mirror": mirrored,
}


def photographs(longest: int = LONGEST) -> list[np.ndarray]:
    """The photographs of tests.trust.photographs that are installed; their longer side at most `longest` pixels."""
    return [_at_most(decode(path.read_bytes(), side=longest), longest) for _, path in installed()]


def sample(count: int) -> list[np.ndarray]:
    """`count` drawings of the packaged sample, spread evenly over its files."""
    files = sorted(path for path in (SAMPLE / "images").rglob("*") if path.is_file())
    return [decode(path.read_bytes()) for path in files[:: max(1, len(files) // count)][:count]]


def _at_most(image: np.ndarray, longest: int) -> np.ndarray:
    factor = longest / max(image.shape[:2])
    return image if factor >= 1 else resized(factor)(image)
