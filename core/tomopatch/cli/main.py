"""The `tomopatch` command: the list of commands, and its endings.

Their arguments are in `parsers`, the commands themselves in `commands` and `prior_commands`.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import tomopatch
from tomopatch.notes import collected
from tomopatch.quiet import STOPPED, end_by_broken_pipe, output_is_closed, quiet_imports

COMMANDS = {
    "simulate": "Simulate a scan of a volume; write the projections.",
    "reconstruct": (
        "Reconstruct a measured scan, a measurement (.npz of `simulate`), or a simulated scan of a volume."
    ),
    "compare": "Simulate a scan of a volume, reconstruct it with several methods, and compute the errors.",
    "sweep": (
        "Run every combination of several views, angle ranges, doses, effects and methods; resumes where it "
        "stopped."
    ),
    "sample": "Generate a volume from the prior (unconditional sampling).",
    "train": "Train a prior on a folder of CT volumes; resumes where it stopped.",
    "calibrate": "Calibrate the standard deviation of a prior's samples on simulated scans of known volumes.",
    "reproduce": "Repeat a run of the app or of a sweep; report whether the result is the same.",
    "bench": "Time projectors and methods on this machine.",
    "app": "Open the app in a browser.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code: 0 done, 2 bad input or arguments."""
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # an output may lack characters of a volume's name
        sys.stdout.reconfigure(errors="replace")
    arguments = _parser(argv).parse_args(argv)
    try:
        with collected(_show) as arguments.notes, warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.filterwarnings("ignore", module="pydicom")  # warnings about unused tags
            warnings.showwarning = lambda message, *rest: _show(str(message))
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        if output_is_closed():
            return end_by_broken_pipe()
        print(f"tomopatch: {error}", file=sys.stderr)  # from another process, such as a worker
        return 2
    except (ValueError, TypeError, ArithmeticError, OSError) as error:
        print(f"tomopatch: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(
            error
        ):  # torch reports lack of memory as a RuntimeError
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
    """Parser that refuses arguments in one sentence, without printing the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Parser of these arguments; only the command that they name gets its own, for which the engine
    is imported.
    """
    parser = _Parser(
        prog="tomopatch",
        description=(
            "Sparse-view CT: simulate a scan of a volume, reconstruct it, compare methods. Not for diagnosis."
        ),
    )
    parser.add_argument("--version", action="version", version=f"tomopatch {tomopatch.__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    named = next((text for text in argv if not text.startswith("-")), None)
    for name, help in COMMANDS.items():
        sub = subparsers.add_parser(name, help=help, description=help)
        if name == named:
            with quiet_imports():
                add_arguments = adder(name)
            add_arguments(sub)
    return parser


def adder(name: str) -> Callable[[argparse.ArgumentParser], None]:
    """The function that adds the arguments of a command."""
    if name == "app":
        from tomopatch.cli import app

        return app.add_arguments
    from tomopatch.cli.parsers import ADD_ARGUMENTS

    return ADD_ARGUMENTS[name]


if __name__ == "__main__":
    sys.exit(main())
