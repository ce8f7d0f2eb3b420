"""The Great Expectations suite over a sweep's histories, and what follows from it."""
