"""The page about a fleet."""
