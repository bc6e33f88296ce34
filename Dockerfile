# Runs the benchmark and leaves its report in the mounted results/:
#
#   docker build -t seqocr --build-arg SEQOCR_COMMIT=$(git rev-parse --short=12 HEAD) .
#   mkdir -p results
#   docker run --rm --user $(id -u):$(id -g) -v $PWD/results:/app/results seqocr
#
# Options of `python -m bench run` follow the name (seqocr --preset smoke); --entrypoint seqocr runs the library's
# command line instead. Any user id works; --user makes the results yours rather than user 1000's.
#
# Or serves: a page where heads race, and POST /v1/read. Only /tmp needs to be written to.
#
#   docker run --rm -p 7860:7860 --read-only --tmpfs /tmp seqocr serve
#
# From PyPI alone an x86-64 machine gets torch's CUDA build (add --gpus all to use it). For the much smaller CPU build:
#   --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}

WORKDIR /app

# Dependencies are a layer of their own, which changes of the source leave alone; without their tests and torch's C++
# headers it is 250 MB smaller. torch comes from one index alone, all else by the SHA-256 of its file; the last line adds
# what a CUDA build of torch pins by itself.
ARG TORCH_INDEX=""
COPY constraints.txt ./
COPY requirements ./requirements
RUN pip="python -m pip install --no-cache-dir --root-user-action=ignore" \
    && $pip --no-deps -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision \
    && $pip --no-deps --require-hashes -r requirements/image.txt \
    && $pip -c constraints.txt torch \
    && find /usr/local/lib/python3* -type d \( -name tests -o -path '*/torch/include' \) -prune -exec rm -r {} +

# results, and what the other commands write by default, is open to whatever user runs the container, and the source
# readable, whatever the modes of its files where the image was built.
COPY . .
RUN python -m pip install --no-cache-dir --root-user-action=ignore --no-deps --no-build-isolation -e . \
    && chmod -R a+rX . \
    && mkdir -m 1777 results data runs

# A user id without an account has neither home nor name: caches (models, fonts) go to /tmp, data sets to data.
ENV HOME=/tmp USER=seqocr PYTHONUNBUFFERED=1 SEQOCR_DATA=/app/data
USER 1000:1000

ARG SEQOCR_COMMIT=""
ENV SEQOCR_COMMIT=${SEQOCR_COMMIT}
LABEL org.opencontainers.image.title="seqocr" \
      org.opencontainers.image.description="Decoding heads for digit strings, compared on one TrOCR encoder" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${SEQOCR_COMMIT}"

# docker stop then ends a run as Ctrl-C does; process 1 ignores the default SIGTERM.
STOPSIGNAL SIGINT
EXPOSE 7860
# Of what serves; a run of the bench has no health to ask for.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["./docker-entrypoint", "healthy"]
ENTRYPOINT ["./docker-entrypoint"]
CMD ["--preset", "default"]
