"""Many images at once: what moved under them, and bringing them up to date."""
