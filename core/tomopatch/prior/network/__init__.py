"""Denoising network: its configuration, layers, U-Net, and the inheritance of weights."""

from tomopatch.prior.network.config import ABLATIONS, PRESETS, NetworkConfig
from tomopatch.prior.network.inherit import inherit
from tomopatch.prior.network.layers import renormalize
from tomopatch.prior.network.unet import PatchUNet

__all__ = ["ABLATIONS", "PRESETS", "NetworkConfig", "PatchUNet", "inherit", "renormalize"]
