"""`python -m abside`: the same command where no console script is installed."""

from abside.cli import main

main()
