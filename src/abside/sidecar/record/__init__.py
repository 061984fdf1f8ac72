"""Events and accounts on their way into the spool."""
