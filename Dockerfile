# The app on CPUs, for a user without privileges. See docs/guides/hosting.md.
FROM python:3.11-slim

# An index with CPU builds of PyTorch; without one, pip installs the build with GPU libraries.
ARG TORCH_INDEX=""

RUN useradd --create-home --uid 1000 tomopatch && mkdir /data && chown tomopatch /data
WORKDIR /home/tomopatch/app
COPY --chown=tomopatch . .
RUN python -m venv /opt/venv \
    && if [ -n "$TORCH_INDEX" ]; then \
        /opt/venv/bin/pip install --no-cache-dir -c constraints.txt torch --index-url "$TORCH_INDEX"; \
    fi \
    && /opt/venv/bin/pip install --no-cache-dir -c constraints.txt .

USER 1000
ENV PATH=/opt/venv/bin:$PATH \
    NUMBA_CACHE_DIR=/home/tomopatch/.cache/numba \
    TOMOPATCH_STORE=/data \
    TOMOPATCH_ADDRESS=0.0.0.0 \
    TOMOPATCH_PORT=8501
# compiles the kernels ahead
RUN tomopatch compare phantom:spheres --grid 8x32x32 --methods fbp,sirt,tv,diffusion --out /tmp/o \
    && tomopatch compare phantom:spheres --grid 8x32x32 --geometry cone --methods fdk --out /tmp/o \
    && rm -r /tmp/o

EXPOSE 8501
VOLUME /data
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"TOMOPATCH_PORT\"]}/_stcore/health', timeout=4)"]
CMD ["sh", "-c", "exec tomopatch app --demo --headless --address $TOMOPATCH_ADDRESS --port $TOMOPATCH_PORT"]
