"""The page as one self-contained HTML file: inline SVG, no script, every picture beside its table."""
