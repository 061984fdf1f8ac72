"""The open segment: appended to, sealed, synced and watched."""
