"""Puts every packaged model into the cache, as an image is built: assembled, and converted for the engines that read another form of it.

A worker then loads what is there. $XDG_CACHE_HOME says where.
"""

import sys

from quality.embedded_clip import embedded_model_dir
from quality.engines import engines_of, start
from quality.scorers import make_scorers, towers_of


def bake() -> list[str]:
    """What was made, a line each."""
    made = [f"embedded CLIP: {embedded_model_dir()}"]
    scorers = make_scorers()
    for tower in towers_of(scorers):
        for engine in engines_of(tower):
            start(tower, engine)
            made.append(f"{tower.name} on {engine}")
    for scorer in scorers:
        scorer.load()
        made.append(f"scorer {scorer.name} ({scorer.version})")
    return made


if __name__ == "__main__":
    sys.stdout.write("\n".join(bake()) + "\n")
