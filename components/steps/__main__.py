"""`python -m components.steps`: the steps in their order, for `make help`."""

from components.steps.pipeline import sentence

print(sentence())
