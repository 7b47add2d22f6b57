"""Distributions over data and latent vectors, Boltzmann machines among them, as Pyro distributions."""
