"""The LODE in other people's loops."""
