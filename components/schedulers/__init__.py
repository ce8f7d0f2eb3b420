"""Ways of setting the learning rate: one file per method, named in `names.py`."""
