"""Writes docs/reference from the code: ``python -m docs.generate``. A test holds the pages against the code."""
