"""Runs that exist already: from a tracker or a file to histories that a LODE can be fitted on."""
