"""Makes ``model/1/model.onnx``: a small network that tells whether a point lies inside the unit circle.

Run it with ``pip install numpy onnx`` to make the model again; the committed file is what it made. The model takes
``points`` (float32, [N, 2]) and gives ``inside`` (float32, [N, 1]), the probability of each point to lie inside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN = 24
STEPS = 4000
RATE = 0.5


def train(seed: int = 7) -> list[np.ndarray]:
    """Weights of a network with one hidden layer, found by plain gradient descent on random points."""
    random = np.random.default_rng(seed)
    points = random.uniform(-2, 2, (2048, 2))
    inside = (np.square(points).sum(axis=1, keepdims=True) < 1).astype(float)
    first, first_bias = random.normal(0, 1, (2, HIDDEN)), np.zeros(HIDDEN)
    second, second_bias = random.normal(0, 0.3, (HIDDEN, 1)), np.zeros(1)
    for _ in range(STEPS):
        hidden = np.tanh(points @ first + first_bias)
        guess = 1 / (1 + np.exp(-(hidden @ second + second_bias)))
        error = (guess - inside) / len(points)
        back = (error @ second.T) * (1 - np.square(hidden))
        second -= RATE * 20 * hidden.T @ error
        second_bias -= RATE * 20 * error.sum(axis=0)
        first -= RATE * 20 * points.T @ back
        first_bias -= RATE * 20 * back.sum(axis=0)
    return [value.astype(np.float32) for value in (first, first_bias, second, second_bias)]


def as_onnx(weights: list[np.ndarray]) -> onnx.ModelProto:
    """The network as an ONNX graph."""
    names = ["first", "first_bias", "second", "second_bias"]
    nodes = [
        helper.make_node("Gemm", ["points", "first", "first_bias"], ["sums"]),
        helper.make_node("Tanh", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "second", "second_bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["inside"]),
    ]
    graph = helper.make_graph(
        nodes,
        "inside_the_circle",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(value, name) for name, value in zip(names, weights, strict=True)],
    )
    model = helper.make_model(graph, producer_name="modelpack quickstart", opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    path = Path(__file__).parent / "model" / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_onnx(train()).SerializeToString(deterministic=True))
    print(path)
