"""server: any HTTP model server as an image, with its packages, its code and its model."""
