"""Kubernetes: an image mounted as a volume of a pod."""
