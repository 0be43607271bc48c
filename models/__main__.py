"""`python -m models`: the workshop's command line."""

import argparse
import sys
from importlib import import_module

from edge.errors import EdgeError

COMMANDS = {
    "synth": ("models.synth_cli", "render parts or a conveyor clip"),
    "score-parts": ("models.score_parts", "hold the decisions on a rendered line against its truth"),
    "train": ("models.train", "a classifier of the zoo on a folder of labelled pictures"),
    "train-segmenter": ("models.train_segmenter", "a U-Net that draws the defects, on pictures with masks"),
    "crossvalidate": ("models.crossvalidate", "what runs with different folds held out come to together"),
    "export": ("models.export", "a trained run to a bundle with an FP32 ONNX model"),
    "prune": ("models.prune", "a trained network with fewer channels or weights, trained on"),
    "quantize": ("models.quantize", "add an INT8 or FP16 model to a bundle, and say what it costs"),
    "import-nnunet": ("models.import_nnunet", "a results folder of nnU-Net v2 to a bundle that draws masks"),
    "extend": ("models.extend", "make an ONNX model of elsewhere take the camera's uint8 pictures"),
    "bench-bundles": ("models.bench_bundles", "bundles of published networks with weights by chance, for benchmarks"),
    "speed-table": ("models.speed_table", "speed and memory of networks over shapes, forms and engines"),
    "precision-table": ("models.precision_table", "the best scores of pictures in PyTorch, ONNX, simplified and INT8"),
    "openvino-table": ("models.openvino_table", "a network in PyTorch and in OpenVINO's FP32, FP16 and INT8"),
    "evaluate": ("models.evaluate", "a bundle through the runtime's own backends on labelled pictures"),
    "compare": ("models.compare", "bundles side by side: size, quality, speed"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 when it failed, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m models", description="From labelled pictures to a model bundle.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    given = arguments if arguments is not None else sys.argv[1:]
    modules = {}
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        if name in given[:1]:  # torch and the like are loaded by the command that needs them alone
            modules[name] = import_module(module)
            modules[name].add_arguments(command)
    args = parser.parse_args(given)
    try:
        modules[args.command].run(args)
    except (ValueError, OSError, RuntimeError, EdgeError) as error:
        print(f"python -m models {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
