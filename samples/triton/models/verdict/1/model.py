"""Says in a word what a probability means. A model of Triton's Python backend."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton calls: once for every batch of requests."""

    def execute(self, requests):
        """An answer for every request, in their order."""
        return [self.answer(request) for request in requests]

    def answer(self, request):
        probability = pb_utils.get_input_tensor_by_name(request, "probability").as_numpy()
        words = np.where(probability > 0.5, "inside", "outside").astype(object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("verdict", words)])
