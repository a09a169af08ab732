"""Trains the classifier of this sample and writes its artefact: python train.py, with the packages of requirements.txt."""

from __future__ import annotations

from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main() -> None:
    iris = load_iris()
    model = make_pipeline(StandardScaler(), LogisticRegression(random_state=0)).fit(iris.data, iris.target)
    folder = Path(__file__).parent / "artifact"
    folder.mkdir(exist_ok=True)
    joblib.dump({"model": model, "names": list(map(str, iris.target_names))}, folder / "model.joblib")


if __name__ == "__main__":
    main()
