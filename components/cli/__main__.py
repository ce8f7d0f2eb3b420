"""`python -m components.cli` is `lode`."""

from components.cli.main import main

main()
