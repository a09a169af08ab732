"""Azure Machine Learning: managed online endpoints (v2), and base images of the v1 that is out of support."""
