"""OCI Data Science: a model deployment with a container of one's own, or with Triton."""
