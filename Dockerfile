# One image for every role: `abside sidecar`, `abside agent`, `abside collector`. It runs as uid 10001 on a read-only
# root and writes only into the directories that its options name. Python and Debian come from the base; all else is in
# /opt/abside.

# The base by tag. Pin it where you build: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
# Which lock: `image` for every role beside an app and behind it; `report` for `abside report`, with its engine and statistics.
ARG REQUIREMENTS=image
WORKDIR /src
COPY requirements requirements
# Two environments: one builds, the other runs and has no pip. Only packages with the locked hashes are installed.
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements/image-build.txt \
 && python3 -m venv --without-pip /opt/abside \
 && /opt/build/bin/pip --python /opt/abside/bin/python install --quiet --require-hashes --only-binary :all: \
    --no-compile -r "requirements/$REQUIREMENTS.txt"
COPY pyproject.toml README.md ./
COPY src src
COPY agent agent
# The wheel, and the SBOM: every Python distribution that is installed, with version and licence.
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/abside/bin/python install --quiet --no-deps --no-index --no-compile dist/*.whl \
 && /opt/build/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
    --output-file /opt/abside/sbom.cdx.json /opt/abside/bin/python
# Remove 80 MB that no role loads: pyarrow's headers, sources and tests, its Flight and S3, zstandard's other backend.
# Then compile, because nothing can be written on a read-only root. The files never change, so Python need not compare times.
RUN find /opt/abside/lib/python3*/site-packages -depth \( -path '*/pyarrow/include*' -o -path '*/pyarrow/src*' \
    -o -path '*/pyarrow/tests*' -o -path '*/pyarrow/*.pyx' -o -path '*/pyarrow/*.pxi' -o -path '*/pyarrow/*.pxd' \
    -o -path '*/pyarrow/*flight*' -o -path '*/pyarrow/*s3fs*' -o -path '*/pyarrow/libarrow_s3.*' \
    -o -path '*/pyarrow/libarrow_python.so' -o -path '*/pyarrow/libarrow_python.so.*.*.*' \
    -o -path '*/zstandard/_cffi.*' \) -delete \
 && /opt/abside/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/abside/lib \
 && /opt/abside/bin/python -c 'import abside_agent.run.loop, abside.sidecar.app, abside.collector.app, confluent_kafka, obstore, zstandard'

FROM ${PYTHON}
ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="abside" \
      org.opencontainers.image.description="Experimentation sidecar for recommendation services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON}"
# The official base has an uncompiled standard library, which costs 0.7 s of CPU at every start instead of 0.1 s.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    -x '/(test|tests|idlelib|lib2to3|ensurepip|turtledemo|site-packages|dist-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/abside /opt/abside
ENV PATH=/opt/abside/bin:$PATH PYTHONDONTWRITEBYTECODE=1
# A number, because the kubelet cannot see whether a name is root. It needs no entry in /etc/passwd. Any other one works too,
# with the group 0 as on OpenShift: everything here may be read by all, and nothing in the image is written to.
USER 10001:10001
EXPOSE 7600 7601 7700
ENTRYPOINT ["abside"]
CMD ["--help"]
