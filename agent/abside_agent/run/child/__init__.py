"""The compiling child: a short-lived process with limits, and the messages between it and the agent."""
