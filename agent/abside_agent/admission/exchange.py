"""How the webhook calls its checking child: the compiling child's order, with the documents before as its `last`."""

from __future__ import annotations

import sys

COMMAND = (sys.executable, "-P", "-m", "abside_agent.admission.inside")
ONE_OF_SEVERAL = "--one-of-several"  # see judge.py
