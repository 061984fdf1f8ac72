"""Many units through the documents, by the code that assigns: what shares, overlaps and layers come of it."""
