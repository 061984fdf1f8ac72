"""The compiling child: a short-lived process with limits, and how the agent talks to it."""
