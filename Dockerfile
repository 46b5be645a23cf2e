# The services, one target each: operator, api, reporter. Built from the root of the repository:
#   docker build --target operator -t lmms-eval/operator .
# The evaluator has its own, evaluator-image/Dockerfile. In every image: dependencies in one layer, our code in the last.
# A build secret `ca` (--secret id=ca,src=bundle.pem) is trusted by every download.
ARG BASE_IMAGE=python:3.12-slim-bookworm

# --- interpreter: a python image brings one, a bare Debian gets its own ---
FROM ${BASE_IMAGE} AS base
RUN python3 -c "import ensurepip" 2>/dev/null || { \
        apt-get update -qq \
        && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv ca-certificates \
        && rm -rf /var/lib/apt/lists/* /var/cache/apt/*; }

# --- what the build works with, and no image carries ---
FROM base AS tools
COPY hack/images/with-ca hack/images/requirements-build.lock /opt/tools/
RUN --mount=type=secret,id=ca \
    python3 -m venv /opt/tools \
    && /opt/tools/with-ca /opt/tools/bin/pip install --quiet --no-cache-dir --require-hashes -r /opt/tools/requirements-build.lock
# Our code is installed beside the environment, so that it is a layer of its own; the .pth is how Python finds it.
RUN /opt/tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/venv \
    && echo /opt/lmms-eval/lib > "$(echo /opt/venv/lib/python3*/site-packages)/lmms_eval.pth"

FROM tools AS core
COPY core /src/core
RUN /opt/tools/bin/uv build --quiet --offline --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /wheels /src/core

FROM base AS service
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /tmp

# --- operator ---
FROM tools AS operator-dependencies
COPY operator/requirements.lock /src/requirements.lock
RUN --mount=type=secret,id=ca \
    /opt/tools/with-ca /opt/tools/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes -r /src/requirements.lock

FROM core AS operator-code
COPY operator /src/operator
RUN /opt/tools/bin/uv build --quiet --offline --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /wheels /src/operator \
    && /opt/tools/bin/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode --python /opt/venv/bin/python \
        --target /opt/lmms-eval/lib /wheels/*.whl

FROM service AS operator
COPY --from=operator-dependencies /opt/venv /opt/venv
COPY --from=operator-code /opt/lmms-eval/lib /opt/lmms-eval/lib
ENTRYPOINT ["/opt/lmms-eval/lib/bin/lmms-eval-operator"]

# --- api ---
FROM tools AS api-dependencies
COPY api/requirements.lock /src/requirements.lock
RUN --mount=type=secret,id=ca \
    /opt/tools/with-ca /opt/tools/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes -r /src/requirements.lock

FROM core AS api-code
COPY api /src/api
RUN /opt/tools/bin/uv build --quiet --offline --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /wheels /src/api \
    && /opt/tools/bin/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode --python /opt/venv/bin/python \
        --target /opt/lmms-eval/lib /wheels/*.whl

FROM service AS api
COPY --from=api-dependencies /opt/venv /opt/venv
COPY --from=api-code /opt/lmms-eval/lib /opt/lmms-eval/lib
# Built by `make web`: no Node runs in a build of an image.
COPY web/dist /opt/lmms-eval/web
ENV LMMS_EVAL_API_WEB=/opt/lmms-eval/web
ENTRYPOINT ["/opt/lmms-eval/lib/bin/lmms-eval-api"]

# --- reporter ---
FROM tools AS reporter-dependencies
COPY reporter/requirements.lock /src/requirements.lock
RUN --mount=type=secret,id=ca \
    /opt/tools/with-ca /opt/tools/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/venv/bin/python \
        --require-hashes -r /src/requirements.lock

FROM core AS reporter-code
COPY reporter /src/reporter
RUN /opt/tools/bin/uv build --quiet --offline --wheel --no-build-isolation --python /opt/tools/bin/python --out-dir /wheels /src/reporter \
    && /opt/tools/bin/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode --python /opt/venv/bin/python \
        --target /opt/lmms-eval/lib /wheels/*.whl

FROM service AS reporter
COPY --from=reporter-dependencies /opt/venv /opt/venv
COPY --from=reporter-code /opt/lmms-eval/lib /opt/lmms-eval/lib
# The kernel drops a SIGTERM that process 1 has not asked for yet, but keeps one that is blocked: Python asks for it, and unblocks
# it, as soon as it runs.
ENTRYPOINT ["/usr/bin/env", "--block-signal=TERM", "/opt/lmms-eval/lib/bin/lmms-eval-reporter"]
