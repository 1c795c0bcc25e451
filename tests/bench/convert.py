"""The converter alone, against simplejpeg's scaled decoding, OpenCV's area resizing, simplejpeg's encoding and nothing else.

    python -m tests.bench.convert [--images 200] [--json]

Synthetic JPEGs with a photograph's spectrum: 75 KB at 690x520 and 700 KB at 3 megapixels. Ours and the peers take turns image by image on
one thread, so that whatever else the machine does falls on all. `ratio` is our rate over the peer's for the small ones, `ratio_large` for
the large. `over_codec` is our rate over that of decoding and encoding without any resizing, which nothing can reach that resizes.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import simplejpeg

from quality.images import Target, convert, read_header

TARGET: Final = Target("keep_ratio", 256, quality=95)
SMALL: Final = ((690, 520), 75_000)
LARGE: Final = ((2048, 1536), 700_000)


def photo_like(number: int, sides: tuple[int, int], size: int) -> bytes:
    """A JPEG of about `size` bytes, noise whose amplitude falls as 1/f, another for each number. sides: width, height."""
    noise = np.random.default_rng(number)
    width, height = sides
    pixels = np.full((height, width, 3), 128, np.float32)
    for octave in range(10):
        side = 3 << octave
        layer = noise.normal(size=(min(side, height), min(side, width), 3)).astype(np.float32)
        pixels += cv2.resize(layer, sides, interpolation=cv2.INTER_CUBIC) * 60 / 2**octave
    image = np.clip(pixels, 0, 255).astype(np.uint8)
    low, high = 20, 98
    while high - low > 1:
        quality = (low + high) // 2
        data = simplejpeg.encode_jpeg(image, quality=quality, colorsubsampling="420")
        low, high = (quality, high) if len(data) < size else (low, quality)
    return simplejpeg.encode_jpeg(image, quality=low, colorsubsampling="420")


def peer(data: bytes, sides: tuple[int, int], *, resize: bool = True) -> bytes:
    """sides: width, height of the result, known beforehand."""
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=sides[1], min_width=sides[0])
    if resize:
        pixels = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(pixels, quality=TARGET.quality, colorspace="RGB", colorsubsampling="420")


def measure(images: list[bytes], rounds: int) -> list[float]:
    """Images a second: ours, the peer's, and of decoding and encoding alone."""
    first = convert(images[0], TARGET)
    sides = (first.width, first.height)
    contenders: list[Callable[[bytes], object]] = [
        lambda data: convert(data, TARGET),
        lambda data: peer(data, sides),
        lambda data: peer(data, sides, resize=False),
    ]
    seconds = [0.0] * len(contenders)
    for turn in range(rounds * len(images)):
        for place in range(len(contenders)):
            who = (place + turn) % len(contenders)
            start = time.perf_counter()
            contenders[who](images[turn % len(images)])
            seconds[who] += time.perf_counter() - start
    return [rounds * len(images) / spent for spent in seconds]


def header_us(images: list[bytes]) -> float:
    start = time.perf_counter()
    for data in images * 10:
        read_header(data)
    return (time.perf_counter() - start) / len(images) / 10 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    small = [photo_like(number, *SMALL) for number in range(arguments.images)]
    large = [photo_like(number, *LARGE) for number in range(max(1, arguments.images // 20))]
    ours, rate, codec = measure(small, 3)
    ours_large, rate_large, codec_large = measure(large, 5)
    result: dict[str, float] = {
        "ratio": ours / rate,
        "over_codec": ours / codec,
        "images_per_second": ours,
        "peer": rate,
        "ratio_large": ours_large / rate_large,
        "over_codec_large": ours_large / codec_large,
        "large_per_second": ours_large,
        "header_us": header_us(small),
        "mean_bytes": float(np.mean([len(data) for data in small])),
    }
    result = {name: round(value, 3) for name, value in result.items()}
    if arguments.json:
        print(json.dumps({"bench": "convert", **result}))
        return
    print(f"{'images a second':24}{'ours':>10}{'peer':>10}{'ratio':>10}{'codec alone':>14}{'ratio':>10}")
    for name, rates in (("75 KB", (ours, rate, codec)), ("3 megapixels", (ours_large, rate_large, codec_large))):
        print(f"{name:24}{rates[0]:>10.1f}{rates[1]:>10.1f}{rates[0] / rates[1]:>10.3f}{rates[2]:>14.1f}{rates[0] / rates[2]:>10.3f}")
    print("wanted: the first ratio of the small images at least 0.95")
    print(f"a header: {result['header_us']:.1f} us; mean of the small images: {result['mean_bytes']:.0f} bytes")


if __name__ == "__main__":
    main()
