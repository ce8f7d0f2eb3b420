"""`lode …`: a thin door to steps, retraining and experiments; one file per group of commands."""
