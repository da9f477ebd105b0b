"""svc-face-recon: a self-hosted replacement for the face part of AWS Rekognition."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("svc-face-recon")
except PackageNotFoundError:  # run from a checkout, which `make` does
    __version__ = "0.1.0"
