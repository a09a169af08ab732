"""``modelpack catalog``: one static page of a fleet, for people who look for a model's image."""
