"""Nightly retraining: refit the LODE on what has accumulated; a worse one never replaces a better.

`retrain.retrain` is a whole night. Its parts, each going on where a killed one was, in this order:
`collection.collect`, `version.record_version`, `challenger.fit_challenger`, `comparison.compare`,
`decision.decide`. Each leaves what it found on disk (`record.py`), where the next one reads it.
"""
