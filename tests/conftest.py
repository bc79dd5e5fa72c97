"""Shared fixtures: an asymmetric object, small scans of both beams, a tiny network, seeded randomness."""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the package; torch is imported before it here
if "PYTEST_XDIST_WORKER" in os.environ:  # the tests share the cores: a second thread each would only wait
    for name in ("OMP_NUM_THREADS", "TOMOPATCH_THREADS"):
        os.environ.setdefault(name, "1")

import pytest
import torch

from tests.forked_workers import Factory
from tomopatch import ConeBeam, ParallelBeam, Volume, VolumeGeometry
from tomopatch.execution import worker_queue
from tomopatch.prior.network import NetworkConfig

TINY = NetworkConfig(
    patch_size=8, channels=(8, 12), blocks=(1, 1), fine_channels=4, fine_blocks=1, smoothings=(0.5,), embed=16
)


@pytest.fixture(scope="session", autouse=True)
def eager_workers():
    """Workers run at normal priority: on a busy machine low-priority workers would hardly progress."""
    with pytest.MonkeyPatch.context() as patch:
        for name in worker_queue.NICENESS:
            patch.setitem(worker_queue.NICENESS, name, 0)
        yield


START_WORKER = worker_queue.start_worker


@pytest.fixture(scope="session", autouse=True)
def forked_workers():
    """Workers start at once."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux":
            factory = Factory()
            patch.setattr(worker_queue, "start_worker", lambda name, store: factory.launch(store))
        yield


@pytest.fixture
def real_workers(monkeypatch):
    """Workers are programs of their own, as on a server."""
    monkeypatch.setattr(worker_queue, "start_worker", START_WORKER)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


@pytest.fixture
def vg():
    """Anisotropic voxels, another count along each axis, off centre: nothing that hides a swapped axis."""
    return VolumeGeometry((20, 24, 28), (2.0, 1.5, 1.0), (1.0, -2.0, 3.0))


@pytest.fixture
def blobs(vg):
    """An asymmetric object within the volume: smooth blobs off every axis of symmetry."""
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    data = torch.zeros(vg.shape, dtype=torch.float64)
    for cz, cy, cx, r, mu in ((5, 3, -4, 5.0, 0.02), (-6, -7, 8, 4.0, 0.03), (9, -5, 4, 3.0, 0.01)):
        data += mu * torch.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / r**2)
    return Volume(data.to(torch.float32), vg)


SCANS = {
    "parallel": lambda vg: ParallelBeam.circular(vg, num_views=9, start=0.1),
    "parallel limited": lambda vg: ParallelBeam.limited(vg, num_views=7, angle_range=1.5),
    "parallel tilted": lambda vg: ParallelBeam.circular(vg, num_views=7, tilt=0.4),
    "cone": lambda vg: ConeBeam.circular(vg, num_views=11, src_orig_dist=120, src_det_dist=200),
    "cone shifted": lambda vg: ConeBeam.circular(
        vg, num_views=9, src_orig_dist=120, src_det_dist=200, det_offset=(3.0, 15.0)
    ),
    "cone tilted": lambda vg: ConeBeam.circular(
        vg, num_views=7, src_orig_dist=150, src_det_dist=250, tilt=0.3
    ),
    "helix": lambda vg: ConeBeam.helical(
        vg, views_per_turn=8, pitch=20.0, src_orig_dist=120, src_det_dist=200
    ),
    "fan": lambda vg: ConeBeam.circular(
        vg, num_views=9, src_orig_dist=120, src_det_dist=200, det_shape=(1, 60), pixel_size=(2.0, 2.0)
    ),
    "views of a helix": lambda vg: ConeBeam.helical(
        vg, views_per_turn=8, pitch=20.0, src_orig_dist=120, src_det_dist=200
    ).subset([3, 0, 7]),
}
"""Every kind of scan, made for a volume geometry."""


@pytest.fixture(params=list(SCANS))
def any_scan(request):
    return SCANS[request.param]


@pytest.fixture
def small():
    """A cylinder with inserts on 16 x 48 x 48, and its geometry: enough for a method to work on."""
    vg = VolumeGeometry((16, 48, 48), (2.0, 1.0, 1.0))
    z, y, x = torch.meshgrid(*(vg.axis(i) for i in range(3)), indexing="ij")
    data = 0.0192 * ((y / 20) ** 2 + (x / 16) ** 2 < 1)
    data = (
        data
        + 0.0096 * ((y - 6) ** 2 + (x + 5) ** 2 < 16)
        - 0.0096 * ((y + 6) ** 2 + (x - 4) ** 2 + z**2 < 36)
    )
    return Volume(data.to(torch.float32), vg)


@pytest.fixture
def one_thread():
    """Layers this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
