"""modelcar: an image that holds a model's files under ``/models``, as KServe and Kubernetes image volumes take it."""
