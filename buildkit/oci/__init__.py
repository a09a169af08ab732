"""What an image is: references, manifests, layers, stores. No network and no subprocess in here."""
