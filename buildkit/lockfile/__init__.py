"""The lockfile: what may stand in it, how it comes into being, and what is known from it again."""
