"""Descriptors of the atomic cluster expansion (ACE) as a model input."""
