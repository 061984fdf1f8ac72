"""How the webhook calls its checking child: an order of the compiling child, with the old documents as its `last`."""

from __future__ import annotations

import sys

COMMAND = (sys.executable, "-P", "-m", "abside_agent.admission.inside")
ONE_OF_SEVERAL = "--one-of-several"  # see judge.py
# Which experiments the documents name: a smaller child, because a pause waits for it.
IDS_COMMAND = (sys.executable, "-P", "-m", "abside_agent.admission.inside_ids")
