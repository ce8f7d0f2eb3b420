"""The latent ODE: how training unfolds, learned from a sweep, and the scheduler that asks it."""
