"""The first files of a project for Azure ML."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.start import named


def files(name: str) -> Mapping[str, str]:
    """The files by path; raises InvalidInput where ``name`` cannot be an image's."""
    return {"recipe.yaml": _RECIPE.format(name=named(name)), "conda.yaml": _CONDA, "app/server.py": _SERVER}


_RECIPE = """\
# An image for a managed online endpoint of Azure ML. Build it with: modelpack build recipe.yaml
kind: azureml
name: {name}

base: ubuntu:24.04
python: 3.12.8
conda_file: ./conda.yaml
# installer:                       # what installs conda; Miniforge by default
#   amd64: {{url: "https://repo.anaconda.com/miniconda/Miniconda3-….sh", sha256: …}}

code: ./app                        # becomes /app
command: [gunicorn, --bind, "0.0.0.0:8080", --worker-tmp-dir, /dev/shm, "server:app"]
inference_config:                  # what the endpoint asks; the words are those of Azure's environment YAML
  liveness_route: {{port: 8080, path: /health}}
  readiness_route: {{port: 8080, path: /ready}}
  scoring_route: {{port: 8080, path: /predict}}

tags: [latest]
platforms: [linux/amd64]
"""
_CONDA = """\
channels: [conda-forge]
dependencies:
  - pip
  - pip:
      - flask==3.1.2
      - gunicorn==23.0.0
"""
_SERVER = '''\
"""A model that doubles numbers, behind the three routes that an endpoint of Azure ML asks for.

Azure mounts a model under AZUREML_MODEL_DIR; it is read once, before /ready says so.
"""

import os
import pathlib

from flask import Flask, jsonify, request

app = Flask(__name__)
model_dir = os.environ.get("AZUREML_MODEL_DIR")
factor_file = pathlib.Path(model_dir, "factor.txt") if model_dir else None
factor = float(factor_file.read_text()) if factor_file and factor_file.exists() else 2.0


@app.get("/health")
@app.get("/ready")
def healthy():
    return jsonify(status="ok")


@app.post("/predict")
def predict():
    content = request.get_json(silent=True)
    values = content.get("data") if isinstance(content, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, (int, float)) for value in values):
        return jsonify(error='send {"data": [numbers]}'), 400
    return jsonify(predictions=[value * factor for value in values])
'''
