"""The layouts of a model that its server wants: OpenVINO Model Server, vLLM, Triton."""
