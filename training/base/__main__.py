"""Prints the folder of the embedded base, which plain diffusers loads: `StableDiffusionPipeline.from_pretrained(folder)`.

python -m training.base                                        # made at the first call, then reused
python -m training.base --out /tmp/base                        # a folder of your own
python -m training.base --out /tmp/blank --random_weights 0    # an untrained one, for tests
"""

import argparse
import sys
import tempfile
from pathlib import Path

from training.base.assemble import WEIGHTS, assemble, embedded_base_dir, write_random_weights
from training.command import EXIT_USAGE, MISTAKES, say


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.base", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help=f"folder of weights (default: {WEIGHTS})")
    parser.add_argument("--out", type=Path, help="folder to write (default: $XDG_CACHE_HOME/pigment/embedded-base-DIGEST)")
    parser.add_argument("--random_weights", type=int, metavar="SEED", help="an untrained model, which draws nothing; needs --out")
    args = parser.parse_args(argv)
    if args.out is None and (args.weights is not None or args.random_weights is not None):
        parser.error("--weights and --random_weights need --out: the cache holds the packaged weights only")
    if args.weights is not None and args.random_weights is not None:
        parser.error("--weights or --random_weights, not both")
    try:
        if args.out is None:
            print(embedded_base_dir())
            return 0
        with tempfile.TemporaryDirectory() as folder:
            drawn = None if args.random_weights is None else write_random_weights(Path(folder), seed=args.random_weights)
            assemble(drawn or args.weights or WEIGHTS, args.out)
        print(args.out.absolute())
    except MISTAKES as error:
        return say(f"error: {error}", EXIT_USAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
