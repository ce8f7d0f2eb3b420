"""`python -m flows` is `make demo`."""

from flows.demo import entry

entry()
