"""The HTTP door of every process: bounds, answers, connections, and who is let in."""
