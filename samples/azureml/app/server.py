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
