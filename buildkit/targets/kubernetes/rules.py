"""The rules of image volumes."""
