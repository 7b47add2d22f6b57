"""Objectives (ELBO, IWAE) over any Pyro pair, and the negative phases of energy models."""
