"""Arguments of each command that uses the engine: functions that add them to a parser.

Their choices and defaults come from the engine, so that importing this module takes seconds.
"""

from __future__ import annotations

import argparse
import os

from tomopatch.cli import commands, flags, measured, prior_commands
from tomopatch.prior.files import BODY, DEFAULT, GENERATOR
from tomopatch.prior.network import ABLATIONS, PRESETS
from tomopatch.reconstruct.methods import METHODS
from tomopatch.reconstruct.params import MODES
from tomopatch.training.train_config import TrainConfig


def simulate(sub: argparse.ArgumentParser) -> None:
    flags.add_scan(sub)
    flags.add_out(sub, "FILE", "FILE.npz for `reconstruct`, or FILE.zip with TIFF files and geometry.json")
    sub.add_argument("--json", action="store_true", help="print a JSON summary")
    sub.set_defaults(run=commands.simulate)


def reconstruct(sub: argparse.ArgumentParser) -> None:
    flags.add_scan(sub)
    measured.add_measured(sub)
    sub.add_argument("--method", choices=tuple(METHODS), help="reconstruction method")
    flags.add_out(sub, "FILE.nii.gz", "file of the volume (HU); with --methods a folder")
    sub.add_argument(
        "--prior", type=os.path.expanduser, help="a prior's name or file, for methods that need one"
    )
    sub.add_argument("--json", action="store_true", help="print a JSON summary")
    flags.add_params(sub)
    sub.set_defaults(run=commands.reconstruct)


def compare(sub: argparse.ArgumentParser) -> None:
    flags.add_scan(sub)
    flags.add_methods(sub)
    flags.add_out(sub, "DIR", "folder of compare.json, compare.png, METHOD.nii.gz")
    sub.add_argument("--json", action="store_true", help="print compare.json instead of the table")
    sub.set_defaults(run=commands.compare)


def sweep(sub: argparse.ArgumentParser) -> None:
    flags.add_scan(sub, many=True)
    flags.add_vary(sub)
    flags.add_methods(sub)
    flags.add_out(sub, "DIR", "folder of sweep.csv, sweep.json, sweep.png and the runs")
    sub.add_argument("--json", action="store_true", help="print sweep.json instead of the table")
    sub.set_defaults(run=commands.sweep)


def sample(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--grid", type=flags.grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument(
        "--voxel-size", type=float, nargs=3, metavar=("Z", "Y", "X"), default=(6.0, 3.0, 3.0), help="in mm"
    )
    sub.add_argument("--steps", type=int, default=60, help="passes of the prior over the volume")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same volume")
    sub.add_argument("--prior", type=os.path.expanduser, default=GENERATOR, help="a prior's name or file")
    sub.add_argument(
        "--body",
        type=os.path.expanduser,
        default=BODY,
        metavar="PRIOR",
        help="name or file of the prior for the coarsest grid",
    )
    flags.add_out(sub, "FILE.nii.gz", "file of the volume (HU)")
    sub.set_defaults(run=prior_commands.sample)


def train(sub: argparse.ArgumentParser) -> None:
    flags.add_volumes(sub)
    flags.add_out(sub, "DIR", "folder of weights, state, log and pictures")
    sub.add_argument(
        "--network",
        choices=tuple(PRESETS),
        help="size of the network (default: that of --start, otherwise small)",
    )
    sub.add_argument("--steps", type=int, default=20_000, help="total number of optimiser steps")
    sub.add_argument("--minutes", type=float, help="time limit; the same command resumes")
    sub.add_argument(
        "--learning-rate", type=float, default=TrainConfig.learning_rate, help="peak learning rate"
    )
    sub.add_argument(
        "--cooldown",
        type=int,
        default=TrainConfig.cooldown,
        help="number of last steps, in which the learning rate falls to 0",
    )
    sub.add_argument(
        "--ema",
        type=float,
        default=TrainConfig.ema,
        help="decay of the averaged weights; lower for a short run",
    )
    sub.add_argument(
        "--volumes", type=int, default=TrainConfig.volumes, help="degraded volumes per batch of patches"
    )
    sub.add_argument("--crops", type=int, default=TrainConfig.crops, help="patches per degraded volume")
    sub.add_argument(
        "--geometric-phantoms",
        type=int,
        default=0,
        metavar="N",
        help="number of random geometric phantoms to train on as well",
    )
    sub.add_argument("--pairs", type=int, default=64, help="number of simulated training pairs")
    sub.add_argument(
        "--pair-workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that make further pairs during training",
    )
    sub.add_argument("--pair-gpu", action="store_true", help="pair workers compute on the GPU")
    sub.add_argument(
        "--start",
        type=os.path.expanduser,
        metavar="PRIOR",
        help="prior whose weights a new run starts from",
    )
    sub.add_argument(
        "--compile", action="store_true", help="compile the network, which pays off in long runs"
    )
    sub.add_argument("--without", choices=ABLATIONS, help="input to leave out (ablation)")
    sub.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another field of tomopatch.training.data_config.DataConfig, such as sigma_median=0.6",
    )
    sub.add_argument("--validate-every", type=int, default=500, help="steps between validations")
    sub.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    sub.set_defaults(run=prior_commands.train)


def calibrate(sub: argparse.ArgumentParser) -> None:
    flags.add_volumes(sub)
    sub.add_argument("--prior", type=os.path.expanduser, default=DEFAULT, help="a prior's name or file")
    sub.add_argument("--scans", type=int, default=8, help="number of simulated scans")
    sub.add_argument("--samples", type=int, default=4, help="samples per scan, two or more")
    sub.add_argument("--mode", choices=MODES, default="restore", help="mode to calibrate")
    sub.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    flags.add_out(sub, "FILE.safetensors", "file of the calibrated prior")
    sub.set_defaults(run=prior_commands.calibrate)


def reproduce(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", metavar="RUN", help="id of the run, from the app's address or sweep.csv")
    sub.add_argument(
        "--store", type=flags.path, metavar="DIR", help="store of the run (default: the app's store)"
    )
    sub.add_argument("--json", action="store_true", help="print JSON instead of a sentence")
    sub.set_defaults(run=commands.reproduce)


def bench(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--grid", type=flags.grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument("--views", type=int, default=20, help="number of views")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
    sub.set_defaults(run=commands.bench)


ADD_ARGUMENTS = {
    "simulate": simulate,
    "reconstruct": reconstruct,
    "compare": compare,
    "sweep": sweep,
    "sample": sample,
    "train": train,
    "calibrate": calibrate,
    "reproduce": reproduce,
    "bench": bench,
}
