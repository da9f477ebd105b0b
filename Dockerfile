# syntax=docker/dockerfile:1
# The service without the embedded parts: it needs DATABASE_URL. Models lie in /models, a volume, or are
# baked in with --build-arg BAKE_MODEL_PACK=buffalo_l --build-arg ACCEPT_MODEL_LICENSE=true.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /build
COPY requirements.txt .
# --no-deps: the pinned file is complete, and insightface's own list would bring opencv-python.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY app app
ARG BAKE_MODEL_PACK=
ARG ACCEPT_MODEL_LICENSE=false
RUN mkdir /models \
    && if [ -n "$BAKE_MODEL_PACK" ]; then \
        if [ "$ACCEPT_MODEL_LICENSE" != true ]; then \
            echo "to bake a pack, accept its licence: --build-arg ACCEPT_MODEL_LICENSE=true" && exit 1; \
        fi; \
        MODELS_DIR=/models /venv/bin/python -m app models install "$BAKE_MODEL_PACK" --accept-license; \
    fi

FROM python:${PYTHON_VERSION}-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin face \
    && mkdir /data && chown face /data
COPY --from=build /venv /venv
COPY --from=build --chown=face /models /models
WORKDIR /srv
COPY migrations migrations
COPY app app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 PORT=8000 DATA_DIR=/data MODELS_DIR=/models MODEL_PACK=buffalo_l
USER 10001
EXPOSE 8000
VOLUME ["/data"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}{os.environ.get('ROOT_PATH', '')}/ready\", timeout=4)"]
CMD ["python", "-m", "app", "serve"]
