"""Google Vertex AI: a model with a custom container."""
