"""`edgecls model`: make, check, show and pack bundles."""

import argparse
import json
import sys
from importlib import import_module

from edge.bundle import load_bundle
from edge.errors import BundleError
from service.model.engines import answers
from service.model.facts import MissingFlagsError


def run(args: argparse.Namespace) -> int:
    """One of the four; 1 when a bundle is not what it should be, 2 when flags are missing."""
    if args.action == "import":
        return _import(args)
    if args.action == "verify":
        return _verify(args)
    if args.action == "show":
        summary = import_module("service.model.summary")
        text = json.dumps(summary.document(args.bundle), ensure_ascii=False) if args.json else summary.text(args.bundle)
        print(text)
        return 0
    print(import_module("service.model.package").pack(args.bundle, args.output))
    return 0


def _import(args: argparse.Namespace) -> int:
    try:
        imported = import_module("service.model.importing").import_model(args)
    except MissingFlagsError as error:
        print(f"edgecls model import: {error}", file=sys.stderr)
        return 2
    report = import_module("service.model.report").printed
    print(json.dumps(imported.document(), ensure_ascii=False) if args.json else report(imported))
    return 0


def _verify(args: argparse.Namespace) -> int:
    bundle = load_bundle(args.bundle)
    found = answers(bundle)
    wrong = [answer for answer in found if answer.installed and answer.difference is None]
    if args.json:
        document = {"bundle": str(args.bundle), "hashes": "right", "engines": [answer.document() for answer in found]}
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(f"{args.bundle}: every file is there and has its hash")
        print("\n".join(f"  {answer}" for answer in found))
    if not any(answer.installed for answer in found):
        raise BundleError(f"{args.bundle}: no engine that can run it is installed: install OpenVINO or ONNX Runtime")
    return 1 if wrong else 0
