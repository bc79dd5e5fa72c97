"""The `tomopatch` command: its arguments. What it does with them is in `tomopatch.cli.commands`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from tomopatch.quiet import STOPPED, end_by_broken_pipe, output_is_closed, quiet_imports

with quiet_imports():
    from tomopatch.cli import commands, flags
    from tomopatch.notes import collected
    from tomopatch.prior.files import BODY, DEFAULT, GENERATOR
    from tomopatch.prior.network import ABLATIONS, PRESETS
    from tomopatch.reconstruct.methods import METHODS
    from tomopatch.reconstruct.params import MODES
    from tomopatch.training.trainer import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input or arguments."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        with collected(_show) as arguments.notes, warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.filterwarnings("ignore", module="pydicom")  # about tags that nobody asked for
            warnings.showwarning = lambda message, *rest: _show(str(message))
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        if output_is_closed():
            return end_by_broken_pipe()
        print(f"tomopatch: {error}", file=sys.stderr)  # of another process, such as a worker
        return 2
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        print(f"tomopatch: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):  # as torch says it
            raise
        print(
            "tomopatch: this needs more memory than there is; use a smaller --grid or fewer --views.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130


def _show(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Refuses arguments in one sentence, as everything else is refused; without a page of usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tomopatch",
        description="See what sparse-view CT does: simulate a scan of a volume, reconstruct it, compare. Not for diagnosis.",
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], help: str
    ) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    sub = command("simulate", commands.simulate, "Scan a volume; write the measurement.")
    flags.add_scan(sub)
    sub.add_argument(
        "--out", type=flags.path, required=True, metavar="FILE.npz", help="where the measurement goes"
    )
    sub.add_argument("--json", action="store_true", help="print a JSON summary")

    sub = command(
        "reconstruct",
        commands.reconstruct,
        "Reconstruct a measurement (.npz of `simulate`), or scan a volume and reconstruct it.",
    )
    flags.add_scan(sub)
    sub.add_argument("--method", required=True, choices=tuple(METHODS), help="how")
    sub.add_argument(
        "--out", type=flags.path, required=True, metavar="FILE.nii.gz", help="where the volume goes (HU)"
    )
    sub.add_argument(
        "--prior", type=os.path.expanduser, help="a prior's name or file, for methods that need one"
    )
    sub.add_argument("--json", action="store_true", help="print a JSON summary")
    flags.add_params(sub)

    sub = command(
        "compare",
        commands.compare,
        "Scan a volume, reconstruct it with several methods, and measure the errors.",
    )
    flags.add_scan(sub)
    flags.add_methods(sub)
    sub.add_argument(
        "--out",
        type=flags.path,
        required=True,
        metavar="DIR",
        help="compare.json, compare.png, METHOD.nii.gz",
    )
    sub.add_argument("--json", action="store_true", help="print compare.json instead of the table")

    sub = command(
        "sweep",
        commands.sweep,
        "What if: every combination of some views, angle ranges, doses and methods; goes on where it stopped.",
    )
    flags.add_scan(sub, many=True)
    flags.add_methods(sub)
    sub.add_argument(
        "--out",
        type=flags.path,
        required=True,
        metavar="DIR",
        help="sweep.csv, sweep.json, sweep.png and the runs",
    )
    sub.add_argument("--json", action="store_true", help="print sweep.json instead of the table")

    sub = command("sample", commands.sample, "Generate a volume from the prior alone.")
    sub.add_argument("--grid", type=flags.grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument(
        "--voxel-size", type=float, nargs=3, metavar=("Z", "Y", "X"), default=(6.0, 3.0, 3.0), help="in mm"
    )
    sub.add_argument("--steps", type=int, default=60, help="passes over the volume")
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same volume")
    sub.add_argument("--prior", type=os.path.expanduser, default=GENERATOR, help="a prior's name or file")
    sub.add_argument(
        "--body",
        type=os.path.expanduser,
        default=BODY,
        metavar="PRIOR",
        help="the prior of the coarsest grid",
    )
    sub.add_argument(
        "--out", type=flags.path, required=True, metavar="FILE.nii.gz", help="where the volume goes (HU)"
    )

    sub = command(
        "train", commands.train, "Train a prior on a folder of CT volumes; resumes where it stopped."
    )
    flags.add_volumes(sub)
    sub.add_argument(
        "--out", type=flags.path, required=True, metavar="DIR", help="weights, state, log and pictures"
    )
    sub.add_argument("--network", choices=tuple(PRESETS), default="small", help="size of the network")
    sub.add_argument("--steps", type=int, default=20_000, help="optimiser steps in all")
    sub.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    sub.add_argument(
        "--learning-rate", type=float, default=TrainConfig.learning_rate, help="peak learning rate"
    )
    sub.add_argument(
        "--cooldown",
        type=int,
        default=TrainConfig.cooldown,
        help="last steps, over which the learning rate falls to 0",
    )
    sub.add_argument(
        "--ema",
        type=float,
        default=TrainConfig.ema,
        help="decay of the averaged weights; lower for a short run",
    )
    sub.add_argument("--volumes", type=int, default=TrainConfig.volumes, help="degraded volumes per step")
    sub.add_argument("--crops", type=int, default=TrainConfig.crops, help="patches of each")
    sub.add_argument(
        "--solids", type=int, default=0, metavar="N", help="random geometric phantoms to train on as well"
    )
    sub.add_argument("--pairs", type=int, default=64, help="simulated scans to train on")
    sub.add_argument(
        "--pair-prior",
        type=os.path.expanduser,
        metavar="PRIOR",
        help="train on iterates of the sampler with this prior as well",
    )
    sub.add_argument(
        "--pair-workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that make further pairs during the training, with its own weights",
    )
    sub.add_argument("--pair-gpu", action="store_true", help="they compute on the GPU, not on the CPUs")
    sub.add_argument(
        "--start",
        type=os.path.expanduser,
        metavar="PRIOR",
        help="a prior whose weights a new run starts from",
    )
    sub.add_argument("--compile", action="store_true", help="compile the network: pays in long runs")
    sub.add_argument("--without", choices=ABLATIONS, help="leave an input out: an ablation")
    sub.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other field of tomopatch.training.data_config.DataConfig, such as sigma_median=0.6",
    )
    sub.add_argument("--validate-every", type=int, default=500, help="steps")
    sub.add_argument("--seed", type=int, default=0)

    sub = command(
        "calibrate",
        commands.calibrate,
        "Calibrate the deviation of a prior's samples on simulated scans of known volumes.",
    )
    flags.add_volumes(sub)
    sub.add_argument("--prior", type=os.path.expanduser, default=DEFAULT, help="a prior's name or file")
    sub.add_argument("--scans", type=int, default=8, help="simulated scans to fit to")
    sub.add_argument("--samples", type=int, default=4, help="samples of each, two or more")
    sub.add_argument("--mode", choices=MODES, default="restore", help="the mode that is calibrated")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument(
        "--out",
        type=flags.path,
        required=True,
        metavar="FILE.safetensors",
        help="the prior with its calibration",
    )

    sub = command(
        "reproduce",
        commands.reproduce,
        "Carry out a run of the app or of a sweep again; say whether it is the same.",
    )
    sub.add_argument("id", metavar="RUN", help="its id, as the app's address and sweep.csv have it")
    sub.add_argument(
        "--store", type=flags.path, metavar="DIR", help="where it is kept (default: the app's store)"
    )
    sub.add_argument("--json", action="store_true", help="print JSON instead of a sentence")

    sub = command("bench", commands.bench, "Time projectors and methods on this machine.")
    sub.add_argument("--grid", type=flags.grid, default=(64, 128, 128), help="z x y x x, e.g. 64x128x128")
    sub.add_argument("--views", type=int, default=20, help="number of views")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")

    sub = command("app", commands.app, "Open the app in a browser.")
    sub.add_argument("--port", type=int, default=8501, help="port on this machine")
    sub.add_argument("--headless", action="store_true", help="do not open a browser window")
    return parser


if __name__ == "__main__":
    sys.exit(main())
