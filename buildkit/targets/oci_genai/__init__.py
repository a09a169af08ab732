"""OCI Generative AI: a hosted deployment of an agent."""
