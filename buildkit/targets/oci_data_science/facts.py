"""What OCI Data Science does with every model deployment: where the artefact is, and how Triton is started over it."""

from __future__ import annotations

MOUNT = "/opt/ds/model/deployed_model"
"""Where the model artefact is unpacked, read-only (BYOC, "Location of the mounted model artifacts")."""
REPOSITORY = "model_repository"
"""The artefact's folder that Triton serves (Oracle's samples, containers/Triton)."""
TRITON_COMMAND = ("/opt/nvidia/nvidia_entrypoint.sh", "tritonserver", f"--model-repository={MOUNT}/{REPOSITORY}")
