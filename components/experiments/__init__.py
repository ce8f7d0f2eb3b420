"""Studies whose figures stand in README and docs, each run by `python -m components.experiments.X`."""
