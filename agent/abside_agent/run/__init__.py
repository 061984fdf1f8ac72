"""The agent process: read, compile in a child, publish."""
