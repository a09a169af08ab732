"""Rules of platforms, and what they look at: the recipe, its plan, or the image as it was pushed."""
