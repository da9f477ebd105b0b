# syntax=docker/dockerfile:1
# The service without the embedded parts: it needs DATABASE_URL. It runs as uid 10001, also on a read-only
# root file system; what it writes goes to /data, /models and /tmp.
#
#   docker build -t svc-face-recon .
#   docker build -t svc-face-recon:cuda --target cuda .
#
# No step depends on the processor; for both kinds at once, to a registry of yours:
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example.org/svc-face-recon --push .
#
# The image holds no model unless its builder accepts the licence of the weights, or takes the pack opencv, whose
# licences ask for nothing:
#   docker build --build-arg BAKE_MODEL_PACK=buffalo_l --build-arg ACCEPT_MODEL_LICENSE=true .
#   docker build --build-arg BAKE_MODEL_PACK=opencv .
# Otherwise the pack lies in the volume /models, put there by `python -m app models install` or at the first
# start (with ACCEPT_MODEL_LICENSE=true, unless it is opencv).
ARG PYTHON_VERSION=3.11
# What the pinned onnxruntime-gpu was built for: CUDA 13 and cuDNN 9.
ARG CUDA_VERSION=13.0.2

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /build
COPY requirements-image.txt .
# --no-deps: the pinned file is complete, and insightface's own list would bring opencv-python.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-image.txt
WORKDIR /srv
COPY alembic.ini .
COPY migrations migrations
COPY app app
# Compiled here, for nothing can be written later; unchecked, for what lies in an image does not change.
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app migrations
ARG BAKE_MODEL_PACK=
ARG ACCEPT_MODEL_LICENSE=false
RUN mkdir /models \
    && if [ -n "$BAKE_MODEL_PACK" ]; then \
        set -- "$BAKE_MODEL_PACK"; \
        if [ "$ACCEPT_MODEL_LICENSE" = true ]; then set -- "$@" --accept-license; fi; \
        MODELS_DIR=/models /venv/bin/python -m app models install "$@"; \
    fi

FROM nvidia/cuda:${CUDA_VERSION}-cudnn-runtime-ubuntu24.04 AS cuda-base
# The distribution's Python, 3.12. Old versions of packages are not kept: a pinned one would soon fail to build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-base AS cuda-build
WORKDIR /build
COPY requirements-cuda.txt .
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-cuda.txt
WORKDIR /srv
COPY alembic.ini .
COPY migrations migrations
COPY app app
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app migrations

# For machines with an NVIDIA GPU and its container toolkit (docker run --gpus all). What it does today: the
# models run on the GPU, one image at a time in each of INFERENCE_THREADS threads; nothing is batched, and
# decoding and resizing stay on the CPU. Without a GPU it computes on the CPU. It has not been measured, and
# its vectors may differ in the last digits from those of a CPU.
FROM cuda-base AS cuda
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin face \
    && mkdir /data /models && chown face /data /models
COPY --from=cuda-build /venv /venv
COPY --from=build --chown=face /models /models
COPY --from=cuda-build /srv /srv
WORKDIR /srv
# Unless it is told not to, onnxruntime reports to its maker what it runs and on what machine.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 \
    HOST=0.0.0.0 PORT=8000 DATA_DIR=/data MODELS_DIR=/models MODEL_PACK=buffalo_l
USER 10001
EXPOSE 8000 9101
VOLUME ["/data", "/models"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}{os.environ.get('ROOT_PATH', '')}/ready\", timeout=4)"]
CMD ["python", "-m", "app", "serve"]

# The default.
FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin face \
    && mkdir /data /models && chown face /data /models
COPY --from=build /venv /venv
COPY --from=build --chown=face /models /models
COPY --from=build /srv /srv
WORKDIR /srv
# Unless it is told not to, onnxruntime reports to its maker what it runs and on what machine.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 \
    HOST=0.0.0.0 PORT=8000 DATA_DIR=/data MODELS_DIR=/models MODEL_PACK=buffalo_l
USER 10001
EXPOSE 8000 9101
VOLUME ["/data", "/models"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}{os.environ.get('ROOT_PATH', '')}/ready\", timeout=4)"]
CMD ["python", "-m", "app", "serve"]
