"""How each platform runs an image, as data: a function per target, from what is asked to the probes that ask it.

The values are those of the platforms' documents, as they stand in each target's rules.
"""

from __future__ import annotations

from buildkit.targets.running.azureml import azureml_v1, azureml_v2
from buildkit.targets.running.kserve import kserve_fetch, kserve_modelcar, kserve_native, kubernetes
from buildkit.targets.running.modelarts import modelarts_batch, modelarts_online
from buildkit.targets.running.oci_data_science import oci_data_science, oci_data_science_triton
from buildkit.targets.running.oci_genai import oci_genai
from buildkit.targets.running.sagemaker import sagemaker
from buildkit.targets.running.vertex import vertex

__all__ = [
    "azureml_v1",
    "azureml_v2",
    "kserve_fetch",
    "kserve_modelcar",
    "kserve_native",
    "kubernetes",
    "modelarts_batch",
    "modelarts_online",
    "oci_data_science",
    "oci_data_science_triton",
    "oci_genai",
    "sagemaker",
    "vertex",
]
