"""`edgecls watch`: what the lines say, live, for people and for pipes."""

import argparse
import signal
import sys
import time

from pydantic import ValidationError

from service.sections import MqttSection
from service.settings import DEFAULT_PATH, load_settings
from service.watch import topics
from service.watch.client import Client, Heard, Link
from service.watch.model import Model
from service.watch.outputs import JsonOutput, Output, PlainOutput, summary

WRONG_USAGE = 2
"""As argparse."""
TICK_S = 0.2


def run(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C, `--count` or `--seconds`."""
    wrong = _wrong_usage(args)
    if wrong:
        print(f"edgecls watch: {wrong}", file=sys.stderr)
        return WRONG_USAGE
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # each puts the terminal back
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal of another age lacks letters
    started = time.time()
    client, model, discover = _set_up(args, started)
    title = f"{args.topic or 'all lines'} at {client.where}"
    output: Output = JsonOutput(sys.stdout, sys.stderr) if args.json else _for_people(title)
    try:
        done = _watch(args, client, model, output, discover=discover)
    except KeyboardInterrupt:
        done = True
    finally:
        output.close()
        client.close()
    print(f"edgecls watch: {summary(model, time.time())}", file=sys.stderr if args.json else sys.stdout, flush=True)
    if done:
        return 0
    wanted = f"{args.count} decisions" if args.count else f"broker {client.where}"
    print(f"edgecls watch: {wanted} did not come within {args.seconds:g} s", file=sys.stderr)
    return 1


def _watch(args: argparse.Namespace, client: Client, model: Model, output: Output, *, discover: bool) -> bool:
    """Whether what was asked for came: `--count` decisions, or at least the broker."""
    end = None if args.seconds is None else time.monotonic() + args.seconds
    connected = ever = False
    ticked = 0.0
    while end is None or time.monotonic() < end:
        heard = client.next(TICK_S if end is None else max(0.0, min(TICK_S, end - time.monotonic())))
        now = time.time()
        events = []
        if abs(now - ticked) >= TICK_S:
            events, ticked = model.tick(now), now
        if isinstance(heard, Link):
            if connected and not heard.connected:
                model.was_away()
            connected = heard.connected
            ever = ever or connected
            events += model.say(heard.text, now)
        elif isinstance(heard, Heard):
            output.heard(heard)
            lines = len(model.lines)
            events += model.feed(heard.topic, heard.payload, now, retained=heard.retained)
            if discover and len(model.lines) > lines:
                client.listen_to([f"{line}/{kind}" for line in model.lines for kind in topics.PER_LINE])
        output.happened(events, connected=connected)
        output.refresh(model, now)
        if args.count and model.seen["decisions"] >= args.count:
            return True
    return ever and not args.count


def _set_up(args: argparse.Namespace, started: float) -> tuple[Client, Model, bool]:
    known: dict[str, str] = {}
    if args.host is not None or args.port is not None:
        mqtt = _broker(args)
        filters = topics.filters_of(args.topic) if args.topic else [topics.STATUS]
    else:
        settings = load_settings(args.config or DEFAULT_PATH)
        mqtt = settings.mqtt
        if args.topic:
            filters = topics.filters_of(args.topic)
        else:
            known = {line.topic: line.name for line in settings.lines}
            filters = [f"{topic}/{kind}" for topic in known for kind in topics.PER_LINE]
            filters.append(f"edgecls/{settings.node}/status")
    discover = not args.topic and not known
    wanted = topics.valid_topic if discover else topics.wanted_by(filters)
    return Client(mqtt, filters), Model(started, known, wanted), discover


def _for_people(title: str) -> Output:
    if not sys.stdout.isatty():
        return PlainOutput(sys.stdout)
    from service.watch.screen import open_screen  # noqa: PLC0415  # the daemon shares the command and needs no screen

    return open_screen(title) or PlainOutput(sys.stdout)


def _wrong_usage(args: argparse.Namespace) -> str:
    wrong = ""
    if args.topic is not None and not topics.valid_filter(args.topic):
        wrong = f"{args.topic!r} is no topic: give one such as factory/line1, factory/+ or factory/#"
    elif args.count is not None and args.count < 1:
        wrong = f"--count {args.count}: give 1 or more"
    elif args.seconds is not None and not 0 < args.seconds < 1e9:
        wrong = f"--seconds {args.seconds:g}: give more than 0"
    elif args.config and (args.host is not None or args.port is not None):
        wrong = "--config names the broker already: leave out --host and --port, or --config"
    else:
        try:
            _broker(args)
        except ValidationError:
            wrong = "--host must be a host name or an address alone, --port a number from 1 to 65535"
    return wrong


def _broker(args: argparse.Namespace) -> MqttSection:
    return MqttSection(host="127.0.0.1" if args.host is None else args.host, port=args.port)
