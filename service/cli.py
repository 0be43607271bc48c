"""The command `edgecls`."""

import argparse
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from edge.backends import BACKENDS
from edge.bundle import Precision
from edge.errors import EdgeError
from edge.preprocess import Layout, Resize
from service.doctor.finding import SECTIONS
from service.log import How
from service.settings import DEFAULT_PATH, WRONG_CONFIGURATION, ConfigurationError

FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run one command. The exit status: 0 done, 1 failed, 2 wrong usage, 78 the configuration is wrong."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    try:
        return int(args.run(args))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return WRONG_CONFIGURATION
    except EdgeError as error:
        print(f"edgecls: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # `edgecls classify … | head`
        sys.stderr.close()
        return FAILED


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """A command whose modules are loaded when it is called: the daemon does not wait for those of the others."""

    def run(args: argparse.Namespace) -> int:
        return int(import_module(f"service.commands.{name}").run(args))

    return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgecls", description="Inspects parts on a line and tells it over MQTT.")
    parser.add_argument("--version", action="version", version=f"edgecls {version('edgecls')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="the daemon, in the foreground")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument(
        "--log", choices=get_args(How), default="auto", help="auto: to the journal under systemd, else text"
    )
    command.set_defaults(run=_command("run"))

    command = commands.add_parser("check-config", help="every error in a configuration at once")
    command.add_argument("file", type=Path, nargs="?", metavar="FILE", help=f"(default: {DEFAULT_PATH})")
    command.add_argument("--config", type=Path, metavar="FILE", help="the same")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.set_defaults(run=_command("check_config"))

    command = commands.add_parser("classify", help="label and scores of image files")
    command.add_argument("images", nargs="+", metavar="IMAGE")
    command.add_argument("--model", type=Path, metavar="DIR", help="bundle (default: `model` of the configuration)")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument("--top", type=int, default=1, metavar="N", help="labels to print (default: %(default)s)")
    command.add_argument("--backend", choices=("auto", *BACKENDS), help="(default: the configuration's, or auto)")
    command.add_argument("--precision", choices=("auto", *get_args(Precision)), help="(default: as above)")
    command.add_argument("--mask", type=Path, metavar="FILE", help="draw the mask of one image onto it, as PNG")
    command.add_argument("--json", action="store_true", help="one JSON document per image")
    command.set_defaults(run=_command("classify"))

    _add_measuring(commands)
    _add_doctor(commands)

    command = commands.add_parser("reference", help="take the picture against which a line is held for ever after")
    command.add_argument("line", metavar="LINE", help="name of the line")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument("--seconds", type=float, default=5.0, metavar="S", help="look so long (default: %(default)g)")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.set_defaults(run=_command("reference"))

    command = commands.add_parser("snapshot", help="a picture of what a line sees, and what its model sees of it")
    command.add_argument("line", metavar="LINE", help="name of the line")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument("--output", type=Path, metavar="FILE", help="(default: LINE.png)")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.set_defaults(run=_command("snapshot"))

    _add_model(commands)
    _add_evidence(commands)

    command = commands.add_parser("watch", help="what the lines say, live")
    command.add_argument("topic", nargs="?", metavar="TOPIC", help="of a line, with + and # (default: all lines)")
    command.add_argument("--config", type=Path, metavar="FILE", help=f"names the broker (default: {DEFAULT_PATH})")
    command.add_argument("--host", metavar="HOST", help="the broker, without a configuration")
    command.add_argument("--port", type=int, metavar="PORT", help="its port (default: 1883)")
    command.add_argument("--json", action="store_true", help="one JSON document per message")
    command.add_argument("--count", type=int, metavar="N", help="end after N decisions")
    command.add_argument("--seconds", type=float, metavar="S", help="end after S seconds")
    command.set_defaults(run=_command("watch"))
    return parser


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("doctor", help="what this device has and lacks, each with its remedy")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument(
        "--section",
        choices=SECTIONS,
        action="append",
        metavar="NAME",
        help=f"this one alone: {', '.join(SECTIONS)}; may be repeated",
    )
    command.add_argument("--no-sources", action="store_true", help="do not open the sources of the lines")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.set_defaults(run=_command("doctor"))


def _add_measuring(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("bench", help="how fast engines and pipelines are on this device")
    command.add_argument("--model", type=Path, metavar="DIR", help="bundle (default: `model` of the configuration)")
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
    command.add_argument("--backend", choices=("auto", *BACKENDS), help="this one alone (default: all)")
    command.add_argument("--precision", choices=("auto", *get_args(Precision)), help="this one alone (default: all)")
    command.add_argument("--threads", type=int, metavar="N", help="so many alone (default: 1, 2 and up to 4)")
    command.add_argument("--seconds", type=float, metavar="S", help="for each figure (default: 2)")
    command.add_argument("--video", type=Path, metavar="FILE", help="read this one (default: a clip of its own)")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture, too (.png)")
    command.add_argument("--from", dest="from_file", type=Path, metavar="FILE", help="show what --json wrote")
    command.set_defaults(run=_command("bench"))

    command = commands.add_parser("tune", help="the quickest way to run a model here, measured and kept")
    command.add_argument("--model", type=Path, metavar="DIR", help="bundle (default: `model` of the configuration)")
    command.add_argument("--config", type=Path, metavar="FILE", help=f"(default: {DEFAULT_PATH})")
    command.add_argument(
        "--for",
        dest="goal",
        choices=("latency", "throughput"),
        default="latency",
        help="one inference at a time, or many together (default: %(default)s)",
    )
    command.add_argument("--max-cores", type=int, metavar="N", help="use at most N cores (default: all)")
    command.add_argument("--seconds", type=float, default=60.0, metavar="S", help="(default: %(default)g)")
    command.add_argument("--grid", action="store_true", help="drop nobody: measure all until the time is up")
    command.add_argument("--output", type=Path, metavar="FILE", help="(default: `engine.tuning`)")
    command.add_argument("--json", action="store_true", help="one JSON document")
    command.set_defaults(run=_command("tune"))


def _add_evidence(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    evidence = commands.add_parser("evidence", help="pictures of rejects and reviews")
    evidence.set_defaults(run=_command("evidence"))
    actions = evidence.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (("list", "name them, the newest first"), ("export", "a folder that the workshop trains on")):
        command = actions.add_parser(name, help=text)
        command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="(default: %(default)s)")
        command.add_argument("--line", metavar="LINE", help="of this line alone")
        command.add_argument("--since", metavar="TIME", help="so long ago (8h, 2d), or a date and time")
        command.add_argument("--label", metavar="LABEL", help="which show this, as a person or else the model says")
        if name == "export":
            command.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder; is added to")
        command.add_argument("--json", action="store_true", help="as JSON")


def _add_model(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    model = commands.add_parser("model", help="make, check, show and pack model bundles")
    model.set_defaults(run=_command("model"))
    actions = model.add_subparsers(dest="action", required=True, metavar="ACTION")

    command = actions.add_parser("import", help="a bundle from a model file of elsewhere")
    command.add_argument("file", type=Path, metavar="FILE", help="an ONNX file, or the .xml of OpenVINO's format")
    command.add_argument("--output", type=Path, metavar="DIR", help="the bundle (default: the model's name)")
    command.add_argument("--name", metavar="NAME", help="of the model (default: the file's)")
    command.add_argument("--version", default="1.0.0", metavar="VERSION", help="(default: %(default)s)")
    command.add_argument("--labels", metavar="LABELS", help="a file with one per line, or a,b,c")
    command.add_argument("--pass-label", metavar="LABEL", help="the one that means good (default: ok, good, …)")
    command.add_argument("--input", metavar="WxH", help="width and height, where the file leaves them open")
    command.add_argument("--layout", choices=get_args(Layout), help="of its input (default: what its shape tells)")
    command.add_argument("--colour", choices=("RGB", "BGR", "GRAY"), help="what it takes (default: RGB, GRAY)")
    command.add_argument("--mean", metavar="M,M,M", help="of values 0 to 1, or `imagenet`")
    command.add_argument("--std", metavar="S,S,S", help="the same")
    command.add_argument("--resize", choices=get_args(Resize), help="how pictures come to its size (default: stretch)")
    command.add_argument("--images", type=Path, metavar="DIR", help="pictures to make INT8 with, and golden inputs of")
    command.add_argument("--json", action="store_true", help="one JSON document")

    command = actions.add_parser("verify", help="hashes, and golden scores on every installed engine")
    command.add_argument("bundle", type=Path, metavar="DIR", help="the bundle")
    command.add_argument("--json", action="store_true", help="one JSON document")

    command = actions.add_parser("show", help="what a bundle is: labels, sizes, metrics")
    command.add_argument("bundle", type=Path, metavar="DIR", help="the bundle")
    command.add_argument("--json", action="store_true", help="one JSON document")

    command = actions.add_parser("pack", help="a Debian package that installs a bundle")
    command.add_argument("bundle", type=Path, metavar="DIR", help="the bundle")
    command.add_argument("--output", type=Path, metavar="FILE.deb", help="(default: its proper name, here)")


if __name__ == "__main__":
    sys.exit(main())
