"""The kind ``containerfile``: a Containerfile of the user's own, pinned, checked, built and locked."""
