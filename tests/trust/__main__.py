"""`python -m tests.trust`: the confusion table of the labelled set, band by band."""

import sys
import tempfile
from pathlib import Path

from tests.trust.bands import judged_set, lines_of

with tempfile.TemporaryDirectory(prefix="pigment-trust-") as folder:
    sys.stdout.write("\n".join(lines_of(judged_set(Path(folder)))) + "\n")
