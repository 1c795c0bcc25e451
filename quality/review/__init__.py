"""Review: people judge pairs in a web application. In: reviews/tasks.parquet. Out: reviews/decisions.parquet (schemas.reviews).

`python -m quality.review --help` lists its commands. Whatever else reads and writes the two files can take the application's place.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

try:
    TOOL: Final = f"pigment review {version('pigment')}"  # what an answer was given with
except PackageNotFoundError:  # run from a checkout that was never installed
    TOOL = "pigment review"  # type: ignore[misc]
