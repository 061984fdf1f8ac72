"""Events → units → per-arm moments, inside the engine."""
