"""What ``modelpack init triton`` writes: a repository with one model, which needs nothing but the Python backend."""

RECIPE = """\
# A model repository, served by NVIDIA Triton. Build it with: modelpack build recipe.yaml
kind: triton
name: NAME

# The Triton image that serves; recipe.lock pins what its tag means.
base: BASE

# The model repository: a folder beside this file, a repository of a hub that is laid out as one, or a list of them.
models: ./models
# models: [./models, "hf://ORG/NAME@main"]

# A config.pbtxt that is written from here; those that lie in the repository are checked.
configs:
  double:
    backend: python
    max_batch_size: 8
    input: [{name: numbers, data_type: FP32, dims: [-1]}]
    output: [{name: doubled, data_type: FP32, dims: [-1]}]
    dynamic_batching: {}

# Packages for the Python backend, in a layer of their own; buildx or podman install them:
# python_packages: [scipy==1.16.1]

# variant: oci-data-science   # or kserve: the platform mounts the repository
tags: [latest]
"""

MODEL = '''\
"""A model of the Python backend: it doubles the numbers that it is given."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton calls: once for every batch of requests."""

    def execute(self, requests):
        """Answers every request; one that fails must not fail the others."""
        return [self.answer(request) for request in requests]

    def answer(self, request):
        numbers = pb_utils.get_input_tensor_by_name(request, "numbers").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("doubled", numbers * 2)])
'''
