"""The pipeline's steps: settings and a workspace in, files out.

Prefect, DVC, the command line and a notebook call the same `Step`s of `pipeline.py`. One that finds
its finished output does nothing.
"""
