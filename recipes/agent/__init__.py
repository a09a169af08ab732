"""agent: a Python web service with locked dependencies, as OCI Generative AI Hosted Deployment takes it."""
