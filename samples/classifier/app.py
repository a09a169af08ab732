"""Iris flowers by their four lengths: POST /predict with {"instances": [[5.1, 3.5, 1.4, 0.2]]}."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import joblib
from fastapi import FastAPI
from pydantic import BaseModel, Field

ARTEFACT = joblib.load(Path(os.environ["MODEL_DIR"]) / "model.joblib")
Flower = Annotated[list[float], Field(min_length=4, max_length=4)]

app = FastAPI(title="classifier", redirect_slashes=False)


class Instances(BaseModel):
    """Flowers: length and width of the sepals and of the petals, in centimetres."""

    instances: Annotated[list[Flower], Field(min_length=1)]


@app.get("/health")
@app.get("/ready")
def health() -> dict[str, str]:
    """The artefact was read before the server listens, so that it is ready as soon as it answers."""
    return {"status": "ok"}


@app.post("/predict")
def predict(body: Instances) -> dict[str, list[str]]:
    classes = ARTEFACT["model"].predict(body.instances)
    return {"predictions": [ARTEFACT["names"][number] for number in classes]}
