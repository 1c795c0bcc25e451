"""How data moves: all the Beam there is."""

import logging

# While it is imported, Beam warns through the root logger that its Google Cloud parts are not installed, and thereby sends all later
# logging to stderr. A handler that is there already prevents that; command lines set up logging themselves (pipelines.logs.logs_to).
_quiet = logging.NullHandler()
logging.getLogger().addHandler(_quiet)
import apache_beam  # noqa: E402, F401

logging.getLogger().removeHandler(_quiet)
