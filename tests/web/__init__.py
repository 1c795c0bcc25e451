"""The small web: a loopback server that serves the sample as a small, realistic web with planned faults.

`plan.py` is the table of what is served, `faults.py` the kinds of fault in it, `server.py` the server;
`python -m tests.web --help` runs it beside a command.
"""

from tests.web.plan import Plan, Row, plan
from tests.web.server import SmallWeb

__all__ = ["Plan", "Row", "SmallWeb", "plan"]
