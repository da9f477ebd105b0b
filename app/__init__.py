"""svc-face-recon: a self-hosted replacement for the face part of AWS Rekognition."""

import os
from importlib.metadata import PackageNotFoundError, version

# onnxruntime reports to its maker unless told otherwise before it is imported; nothing leaves this house.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

try:
    __version__ = version("svc-face-recon")
except PackageNotFoundError:  # run from a checkout, which `make` does
    __version__ = "0.1.0"
