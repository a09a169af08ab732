"""Registries over HTTP: a repository is a Store."""
