"""Studies whose figures stand in README and docs: `python -m components.experiments.X` each."""
