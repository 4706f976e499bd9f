"""``python -m waferloom tune``: what ``waferloom tune`` runs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from waferloom.errors import Error
from waferloom.sweeps import plain
from waferloom.tuning import STORAGE, Values, tune

_EXAMPLES = """\
examples:
  waferloom tune gemv --set m=1024 --set k=1024 --space p=1..64 --space q=1..64 --trials 200
  waferloom tune model.onnx --set grid=16x16 --set dtype=f16 --objective items_per_second --set items=8
  waferloom tune gemm --set p=32 --storage postgresql+psycopg://host/tune --name gemm     (on many machines)
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; exit code 2 for bad usage or input, as the binary's."""
    options = _parser().parse_args(arguments)
    try:
        found = tune(
            options.what,
            objective=options.objective,
            trials=options.trials,
            space=dict(options.space),
            seed=options.seed,
            storage=options.storage,
            study_name=options.name,
            progress=options.progress,
            **dict(options.set),
        )
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {error}\n  help: pip install 'waferloom[tune]'", file=sys.stderr)
        return 2
    result = {
        "point": plain(found.point),
        "tunables": found.tunables,
        "objective": options.objective,
        "value": found.value,
        "default_value": found.default_value,
        "trials": len(found.study.trials),
        "study": found.study.study_name,
    }
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    settings = ", ".join(f"{name}={value}" for name, value in found.tunables.items()) or "the defaults"
    print(f"best of {result['trials']} trials: {settings}")
    print(f"{options.objective}: {found.value:g}; with the defaults {found.default_value or float('nan'):g} ({found.gain:.1%} better)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="waferloom", description="The parts of waferloom that are written in Python.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "tune",
        help="search the tunables of a kernel or of the planner",
        description="Searches the tunables of a kernel, or of the planner for a model, with Optuna. An interrupted search goes "
        "on where it has stopped.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("what", metavar="KERNEL|MODEL.onnx", help="what is tuned")
    command.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="fix a parameter or an option"
    )
    command.add_argument(
        "--space", action="append", default=[], type=_space, metavar="NAME=VALUES", help="narrow a tunable: A..B or A,B,C"
    )
    command.add_argument("--objective", default="cycles", metavar="COLUMN", help="what is made small (default: cycles)")
    command.add_argument("--trials", type=int, default=100, metavar="N", help="trials in all (default: 100)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the sampler's seed")
    command.add_argument("--storage", default=STORAGE, metavar="URL", help=f"where trials are kept (default: {STORAGE})")
    command.add_argument("--name", metavar="NAME", help="the study's name, for workers that share it")
    command.add_argument("--progress", action="store_true", help="show a bar")
    command.add_argument("--json", action="store_true", help="print the result as JSON on stdout, and nothing else there")
    return parser


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"`{text}` is no NAME=VALUE, such as p=64")
    if name == "grid":
        columns, _, rows = value.partition("x")
        return name, (_number(columns), _number(rows))
    return name, int(value) if value.isdecimal() else value


def _space(text: str) -> tuple[str, Values]:
    name, equals, values = text.partition("=")
    if not (name and equals and values):
        raise argparse.ArgumentTypeError(f"`{text}` is no NAME=VALUES, such as p=1..64")
    low, dots, high = values.partition("..")
    if dots:
        return name, (_number(low), _number(high))
    return name, [int(value) if value.isdecimal() else value for value in values.split(",")]


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` is no number")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
