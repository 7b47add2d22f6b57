"""Estimators of likelihoods and partition functions, their one result type, and their diagnostics."""
