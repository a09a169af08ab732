"""Runs an image as its targets do, and asks what they ask; or leaves it running for a person."""
