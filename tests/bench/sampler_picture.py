"""The animated picture of the README: a volume sampled from noise, which fits 20 views of the thorax phantom.

python -m tests.bench.sampler_picture docs/sampler.gif
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageSequence

from tomopatch import ParallelBeam, Projector, load_prior, phantom, reconstruct, resample, simulate
from tomopatch.export.animations import gif_bytes
from tomopatch.io.writing import write_bytes
from tomopatch.progress import Step
from tomopatch.store.history import Frame, Point
from tomopatch.volume import hu_from_mu

WIDTH, GREYS = 640, 20
PARTS = (("noisy", "Before"), ("denoised", "After the prior"), ("x", "After the scan"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    fine = phantom("thorax", shape=(32, 192, 192))
    volume = resample(fine, (32, 96, 96))
    A = Projector(volume.geometry, ParallelBeam.circular(volume.geometry, num_views=20))
    frames: list[Frame] = []

    def keep(step: Step) -> None:
        if step.stage or step.noisy is None or step.denoised is None:
            return
        volumes = {"noisy": step.noisy, "denoised": step.denoised, "x": step.x}
        point = Point(step.i, step.total, sigma=step.sigma)
        frames.append(Frame(point, {name: whole_hu(x) for name, x in volumes.items()}))

    measurement = simulate(fine, A, photon_count=1e5)
    reconstruct("diffusion", A, measurement, prior=load_prior("small"), mode="posterior", callback=keep)
    write_bytes(out, smaller(gif_bytes(frames, volume.geometry, parts=PARTS)))


def smaller(gif: bytes) -> bytes:
    """The animation at WIDTH, in GREYS levels: noise hardly compresses otherwise."""
    picture = Image.open(io.BytesIO(gif))
    size, pictures, milliseconds = (WIDTH, round(WIDTH * picture.height / picture.width)), [], []
    for frame in ImageSequence.Iterator(picture):
        milliseconds.append(frame.info["duration"])
        pictures.append(frame.convert("L").resize(size, Image.Resampling.LANCZOS).quantize(GREYS))
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=True
    )
    return out.getvalue()


def whole_hu(x: torch.Tensor) -> np.ndarray:
    """Attenuation [1/mm] as int16 HU."""
    return hu_from_mu(x).clamp(-2000, 8000).round().to(torch.int16).cpu().numpy()


if __name__ == "__main__":
    main()
