# The image of every program here. The command names one: `worker`, `mcp`, `emulator`, or any command of `durable-responses`.

FROM python:3.11.15-slim AS build
# As pip does: the certificates of the system, not those that uv brings along.
ENV UV_SYSTEM_CERTS=1
COPY requirements-build.txt requirements-runtime.txt /
RUN python -m venv /build && \
    /build/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes -r /requirements-build.txt
RUN python -m venv --without-pip /venv && \
    /build/bin/uv pip install --quiet --no-cache --python /venv/bin/python --compile-bytecode --only-binary :all: \
        --require-hashes -r /requirements-runtime.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY durable_responses ./durable_responses
COPY workflows ./workflows
COPY activities ./activities
COPY workspace ./workspace
RUN /build/bin/python -m hatchling build --target wheel --directory /wheel && \
    /build/bin/uv pip install --quiet --no-cache --python /venv/bin/python --compile-bytecode --no-index --no-deps \
        /wheel/*.whl

FROM python:3.11.15-slim
COPY --from=build /venv /venv
# For whatever user the container is started as; a named volume takes this over.
RUN install -d -m 1777 /state /workspace
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/state \
    AGENT_STATE_FOLDER=/state \
    AGENT_WORKSPACE=/workspace
USER 10001:10001
# Relative paths, of files and of tool modules, are those of the workspace.
WORKDIR /workspace
ENTRYPOINT ["durable-responses"]
CMD ["worker"]
