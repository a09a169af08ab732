"""From an image to where it is wanted: registries, layouts and archives; one machine or many."""
