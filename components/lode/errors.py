"""The error of this package."""


class LODEError(ValueError):
    """A LODE cannot be fitted, read or used; the message names the thing and the remedy."""
