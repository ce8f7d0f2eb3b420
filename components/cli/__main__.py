"""`python -m components.cli` is `lode`."""

from components.cli.start import main

main()
