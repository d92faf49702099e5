"""`python -m propolis` is `propolis`."""

from propolis.cli.main import main

main()
