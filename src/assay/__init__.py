"""Assay: a config-driven experiment framework for PyTorch."""
