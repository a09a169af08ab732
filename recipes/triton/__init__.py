"""triton: an image that serves a model repository with NVIDIA Triton Inference Server."""
