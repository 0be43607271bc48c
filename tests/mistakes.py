"""Mistakes in a configuration, and what is said about each: (text of the file, messages without its name)."""

LINE = """\
lines:
  - name: line1
    topic: factory/line1
    source: {camera: 0}
"""
BASE = "model: bundle\n" + LINE
"""Valid, five lines long, and ends inside the first production line."""

TOP = "allowed are node, mqtt, outbox, evidence, model, engine, http, lines"
OF_MQTT = "host, port, username, password_file, tls"
OF_ENGINE = (
    "backend, device, precision, threads, streams, spinning, optimisation, hint, pinning, fall_back_to_cpu, "
    "cache_dir, tuning, openvino_dir"
)
DEVICES = "cpu, gpu, npu, cuda, tensorrt, xnnpack, acl, ncs2"
OF_LINE = "name, topic, source, model, roi, decide, trust, publish"
OF_CAMERA = "camera, width, height, fps, format, exposure, focus, gain, white_balance, lost_after_s"
OF_TLS = "ca_file, cert_file, key_file"
EMPTY = "is empty; give it a value or remove it"
TOPIC = (
    "cannot be published to; allowed are words separated by single slashes, such as factory/line1, "
    "without + and # and without $ at the start, at most 60000 bytes"
)
NAME = "is not a name; give up to 63 letters, digits and . - _, a letter or digit first"
HOST = "mqtt.host: must be a host name or an address alone; port, username and tls have keys of their own"
ROI = "lines[0].roi: must be [x, y, width, height] in pixels, whole numbers up to 65535, width and height from 1"
BRACKET = "the bracket that opens here is not closed, or a comma is missing in it; add it"
NO_LINES = "1: lines: is missing; add it, a list of lines, each with name, topic and source"
NO_SOURCE = "5: lines[0].source: must have one of the keys camera, rtsp, gstreamer, command, video, images"
NOT_KEYS = "1: the file must hold keys and values, such as `lines:`"
CAMERA = "must be a device such as /dev/v4l/by-id/… or a number from 0 to 255"
RTSP = "must be an address such as rtsp://10.0.0.7:554/stream1"
CONTROL = "holds a control character; remove it"


def bundle_missing(folder: str) -> str:
    return f"'FOLDER/{folder}' is no model bundle (model.json: No such file or directory); name a bundle"


SYNTAX: list[tuple[str, list[str]]] = [
    ("", [NO_LINES]),
    ("# nothing\n", [NO_LINES]),
    ("- a\n", [NOT_KEYS]),
    ("hello\n", [NOT_KEYS]),
    ("~\n", [NOT_KEYS]),
    ("mqtt:\n\thost: a\n", ["2: a tab cannot stand here; indent with spaces"]),
    ('node: a\nmqtt: {host: "a}\nmodel: b\n', ["2: the quote that opens here is not closed; close it"]),
    ("lines: [1\n\n", [f"1: {BRACKET}"]),
    ("mqtt:\n  tls: {a: 1\n", [f"2: {BRACKET}"]),
    (
        "model: a: b\n",
        ["1: a colon cannot stand here; check this line and the one above, and put a text that has a colon in quotes"],
    ),
    ("node: @a\n", ["1: a text that begins with this character needs quotes; add them"]),
    ("node: &a b\nmodel: &a c\n", ["2: this anchor stands on another value too; rename one of them"]),
    ("mqtt:\n  port: 1\n  host\nnode: a\n", ["3: a key needs a colon and a value; add them"]),
    (
        "mqtt:\n    host: a\n  port: 1\n",
        ["3: this does not belong here; align it with the lines around it, or put the whole text in quotes"],
    ),
    (
        'node: "a" b\n',
        ["1: this does not belong here; align it with the lines around it, or put the whole text in quotes"],
    ),
    ("%YAML\n", ["1: this is not YAML (expected a digit, but found '\\n'); check indentation, quotes and colons"]),
    (
        "node: *a\n",
        ["1: this alias has no anchor above; add it, or put a text that begins with * in quotes"],
    ),
    (BASE + "---\nnode: a\n", ["6: a second document begins here; keep one"]),
    ("node: a\nmodel: \x07\n", ["2: holds the control character 0x07; remove it"]),
    ("[" * 5000, ["1: is nested too deeply; a configuration has a handful of levels"]),
    (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in ("ab", "bc", "cd", "de", "ef", "fg", "gh")),
        ["1: holds more than 100000 values; write fewer aliases"],
    ),
    (BASE + "model: b\n", ["6: model: duplicate key, it stands on line 1 too; remove one of them"]),
    (
        BASE + "mqtt:\n  port: x\n  port: 1\n",
        [
            "7: mqtt.port: must be a whole number, not 'x'",
            "8: mqtt.port: duplicate key, it stands on line 7 too; remove one of them",
        ],
    ),
    (BASE + "? [a]\n: b\n", ["6: a key must be a word; write it out"]),
    (BASE + "'a\\nb': c\n".replace("'", '"'), ["6: a key must be a word; write it out"]),
    (BASE + "mqtt: &a\n  tls: *a\n", ["7: mqtt.tls: this alias contains itself; write the value out"]),
    (BASE + "node: !a b\n", ["6: node: the tag !a is not allowed; write a plain value, text in quotes"]),
    (BASE + "node: !!int a\n", ["6: node: the tag !!int is not allowed; write a plain value, text in quotes"]),
    (
        BASE + "mqtt: !!python/object/apply:os.system [a]\n",
        [
            "6: mqtt: the tag !!python/object/apply:os.system is not allowed; write a plain value, text in quotes",
        ],
    ),
    (BASE + "mqtt: {<<: {port: 1}}\n", ["6: mqtt.<<: keys cannot be merged here; write them out"]),
    (BASE + 'node: "a\\0b"\n', [f"6: node: {CONTROL}"]),
    (BASE + 'mqtt: {username: "\\ud800"}\n', [f"6: mqtt.username: {CONTROL}"]),
]

UNKNOWN: list[tuple[str, list[str]]] = [
    (BASE + "nodes: a\n", [f"6: nodes: unknown key (did you mean node?); {TOP}"]),
    (BASE + "'': a\n", [f'6: "": unknown key; {TOP}']),
    (BASE + "yes: a\n", [f"6: yes: unknown key; {TOP}"]),
    (BASE + "1: a\n", [f"6: 1: unknown key; {TOP}"]),
    (BASE + "speed:\n", [f"6: speed: unknown key; {TOP}"]),
    (
        BASE + "mqtt:\n  password: secret\n",
        [f"7: mqtt.password: unknown key (did you mean password_file?); allowed are {OF_MQTT}"],
    ),
    (
        BASE + "mqtt:\n  tls:\n    cafile: a\n",
        [f"8: mqtt.tls.cafile: unknown key (did you mean ca_file?); allowed are {OF_TLS}"],
    ),
    (
        BASE + "outbox: {max_mb: 1}\n",
        ["6: outbox.max_mb: unknown key (did you mean max_mib?); allowed are path, max_mib"],
    ),
    (
        BASE + "engine: {thread: 1}\n",
        [f"6: engine.thread: unknown key (did you mean threads?); allowed are {OF_ENGINE}"],
    ),
    (BASE + "    rio: [0]\n", [f"6: lines[0].rio: unknown key (did you mean roi?); allowed are {OF_LINE}"]),
    (
        BASE.replace("camera: 0", "video: a, lop: true, fps: 3"),
        [
            "5: lines[0].source.fps: unknown key; allowed are video, pace, loop",
            "5: lines[0].source.lop: unknown key (did you mean loop?); allowed are video, pace, loop",
        ],
    ),
    (
        BASE.replace("camera: 0", "images: a, pace: asap"),
        ["5: lines[0].source.pace: unknown key; allowed are images, watch"],
    ),
    (
        BASE.replace("camera: 0", "camera: 0, wdth: 1"),
        [f"5: lines[0].source.wdth: unknown key (did you mean width?); allowed are {OF_CAMERA}"],
    ),
    # The key that was meant is not reported as missing a second time.
    (
        BASE.replace("name:", "nmae:"),
        [f"3: lines[0].nmae: unknown key (did you mean name?); allowed are {OF_LINE}"],
    ),
    ("modle: bundle\n" + LINE, [f"1: modle: unknown key (did you mean model?); {TOP}"]),
]

TYPES: list[tuple[str, list[str]]] = [
    (BASE + "node: 7\n", ["6: node: must be text, not 7; put text in quotes"]),
    (BASE + "node: [a]\n", ["6: node: must be text, not a list; put text in quotes"]),
    (BASE + "node: true\n", ["6: node: must be text, not true; put text in quotes"]),
    (BASE + "mqtt: {username: 12}\n", ["6: mqtt.username: must be text, not 12; put text in quotes"]),
    (BASE + "mqtt: {host: 1.5}\n", ["6: mqtt.host: must be text, not 1.5; put text in quotes"]),
    (BASE + "mqtt: {port: a}\n", ["6: mqtt.port: must be a whole number, not 'a'"]),
    (BASE + "mqtt: {port: '1883'}\n", ["6: mqtt.port: must be a whole number, not '1883'"]),
    (BASE + "outbox: {max_mib: 1.5}\n", ["6: outbox.max_mib: must be a whole number, not 1.5"]),
    (BASE + "outbox: {max_mib: true}\n", ["6: outbox.max_mib: must be a whole number, not true"]),
    (BASE + "outbox: {path: {}}\n", ["6: outbox.path: must be text, not a mapping; put text in quotes"]),
    (
        BASE.replace("camera: 0", "video: a, loop: 1"),
        ["5: lines[0].source.loop: must be true or false, not 1"],
    ),
    ("lines: {}\n", ["1: lines: must be a list, not a mapping; begin each entry with a dash"]),
    (
        "lines: [1]\n",
        [f"1: lines[0]: must be a mapping of keys and values, not 1; allowed keys are {OF_LINE}"],
    ),
    (BASE + "mqtt: 5\n", [f"6: mqtt: must be a mapping of keys and values, not 5; allowed keys are {OF_MQTT}"]),
    (
        BASE + "mqtt: {tls: true}\n",
        [f"6: mqtt.tls: must be a mapping of keys and values, not true; allowed keys are {OF_TLS}"],
    ),
    (
        BASE + "outbox: &a b\nengine: *a\n",
        [
            "6: outbox: must be a mapping of keys and values, not 'b'; allowed keys are path, max_mib",
            f"7: engine: must be a mapping of keys and values, not 'b'; allowed keys are {OF_ENGINE}",
        ],
    ),
    (
        BASE.replace("{camera: 0}", "camera"),
        ["5: lines[0].source: must be a mapping such as {camera: /dev/video0}, not 'camera'"],
    ),
    # Nothing behind the colon, and null, are the same mistake everywhere.
    (BASE + "mqtt:\n", [f"6: mqtt: {EMPTY}"]),
    (BASE + "mqtt: null\nnode: ~\n", [f"6: mqtt: {EMPTY}", f"7: node: {EMPTY}"]),
    ("model:\n" + LINE, [f"1: model: {EMPTY}"]),
    (BASE + "    roi:\n", [f"6: lines[0].roi: {EMPTY}"]),
    ("lines:\n", [f"1: lines: {EMPTY}"]),
    ("lines:\n  -\n", [f"2: lines[0]: {EMPTY}"]),
    (BASE.replace("{camera: 0}", ""), [f"5: lines[0].source: {EMPTY}"]),
    # What older YAML took for something else.
    (BASE + "    publish: on\n", ["6: lines[0].publish: must be one of defects, all, not 'on'"]),
    (BASE.replace("camera: 0", "video: a, loop: yes"), ["5: lines[0].source.loop: must be true or false, not 'yes'"]),
    (BASE + "mqtt: {port: 0o17}\n", ["6: mqtt.port: must be a whole number, not '0o17'"]),
    (BASE + "mqtt: {port: 017}\n", ["6: mqtt.port: must be a whole number, not '017'"]),
    (BASE + "mqtt: {port: 1:30}\n", ["6: mqtt.port: must be a whole number, not '1:30'"]),
    (BASE + "mqtt: {port: 1e3}\n", ["6: mqtt.port: must be a whole number, not 1000.0"]),
]

VALUES: list[tuple[str, list[str]]] = [
    (BASE + "node: -a\n", [f"6: node: '-a' {NAME}"]),
    (BASE.replace("line1\n", "a b\n", 1), [f"3: lines[0].name: 'a b' {NAME}"]),
    (BASE.replace("name: line1", "name: " + "a" * 64), [f"3: lines[0].name: 'aaaaaaaaaaaa...aaaaaaaaaaaaa' {NAME}"]),
    *(
        (BASE.replace("factory/line1", f"'{topic}'"), [f"4: lines[0].topic: '{topic}' {TOPIC}"])
        for topic in ("", "a/#", "+/a", "/a", "a/", "a//b", "$SYS/a")
    ),
    (BASE.replace("factory/line1", "a" * 60_001), [f"4: lines[0].topic: 'aaaaaaaaaaaa...aaaaaaaaaaaaa' {TOPIC}"]),
    *(
        (BASE + f"mqtt: {{host: '{host}'}}\n", [f"6: {HOST}"])
        for host in ("", "a b", "mqtt://a", "user:secret@a", "10.0.0.1:1883", "a..b", "a" * 64)
    ),
    (BASE + "mqtt: {port: 0}\n", ["6: mqtt.port: must be at least 1, not 0"]),
    (BASE + "mqtt: {port: 65536}\n", ["6: mqtt.port: must be at most 65535, not 65536"]),
    (BASE + f"mqtt: {{port: {10**30}}}\n", [f"6: mqtt.port: must be at most 65535, not {10**30}"]),
    (
        BASE + f"mqtt: {{port: {'9' * 5000}}}\n",
        ["6: mqtt.port: is too long for a number; give a smaller one, or put a text in quotes"],
    ),
    (BASE + "mqtt: {username: ''}\n", ["6: mqtt.username: must not be empty; give it a value or remove it"]),
    (BASE + "mqtt:\n  password_file: a\n", ["7: mqtt.password_file: needs a username beside it; add one"]),
    *(
        (
            BASE + f"mqtt:\n  host: embedded\n  {key}: {value}\n",
            [f"8: mqtt.{key}: is not for `host: embedded`; remove it or name a real broker"],
        )
        for key, value in (("tls", "{}"), ("username", "a"), ("password_file", "a"))
    ),
    (
        BASE + "mqtt:\n  tls:\n    cert_file: a\n",
        ["8: mqtt.tls.cert_file: needs a key_file beside it; give both or neither"],
    ),
    (
        BASE + "mqtt:\n  tls:\n    key_file: a\n",
        ["8: mqtt.tls.key_file: needs a cert_file beside it; give both or neither"],
    ),
    (BASE + "outbox: {path: ''}\n", ["6: outbox.path: must not be empty; give it a value or remove it"]),
    (BASE + "outbox: {max_mib: 0}\n", ["6: outbox.max_mib: must be at least 1, not 0"]),
    (BASE + "outbox: {max_mib: 1048577}\n", ["6: outbox.max_mib: must be at most 1048576, not 1048577"]),
    (BASE + "engine: {backend: tvm}\n", ["6: engine.backend: must be one of auto, onnxruntime, openvino, not 'tvm'"]),
    (
        BASE + "engine: {device: hexagon}\n",
        ["6: engine.device: must be one of auto, cpu, gpu, npu, cuda, tensorrt, xnnpack, acl, ncs2, not 'hexagon'"],
    ),
    (
        BASE + "engine: {backend: openvino, device: cuda}\n",
        ["6: engine.device: cuda is driven by onnxruntime, not by openvino; change one of the two"],
    ),
    (
        BASE + "engine: {device: ncs2}\n",
        ["6: engine.device: ncs2 needs openvino_dir, the folder of an OpenVINO 2022.3.2 (docs/ncs2.md)"],
    ),
    (BASE + "engine: {spinning: 1}\n", ["6: engine.spinning: must be auto, true or false, not 1"]),
    (BASE + "engine: {streams: 0}\n", ["6: engine.streams: must be auto or a whole number from 1 to 64, not 0"]),
    (
        BASE + "engine: {precision: int4}\n",
        ["6: engine.precision: must be one of auto, int8, fp16, fp32, not 'int4'"],
    ),
    *(
        (
            BASE + f"engine: {{threads: {value}}}\n",
            [f"6: engine.threads: must be auto or a whole number from 1 to 64, not {text}"],
        )
        for value, text in (("0", "0"), ("65", "65"), ("2.0", "2.0"), ("true", "true"), ("all", "'all'"))
    ),
    ("model: elsewhere\n" + LINE, ["1: model: " + bundle_missing("elsewhere")]),
    (BASE + "    model: elsewhere\n", ["6: lines[0].model: " + bundle_missing("elsewhere")]),
    (
        "model: ~nobody-of-that-name/a\n" + LINE,
        ["1: model: '~nobody-of-that-name/a' begins with the home of nobody here; give a full path"],
    ),
    *(
        (BASE + f"    roi: {roi}\n", [f"6: {ROI}"])
        for roi in ("3", "[0, 0, 1]", "[0, 0, 0, 1]", "[0, -1, 1, 1]", "[0, 0, 1, x]", "[0, 0, 1, 65536]", "[]")
    ),
    *(
        (
            BASE.replace("camera: 0", f"camera: {value}"),
            [
                f"5: lines[0].source.camera: {CAMERA}, not {text}",
            ],
        )
        for value, text in (("-1", "-1"), ("256", "256"), ("true", "true"), ("''", "''"), ("[0]", "a list"))
    ),
    (BASE.replace("camera: 0", "camera: 0, fps: 0"), ["5: lines[0].source.fps: must be more than 0, not 0"]),
    (
        BASE.replace("camera: 0", "camera: 0, fps: 1e9"),
        ["5: lines[0].source.fps: must be at most 1000, not 1000000000.0"],
    ),
    *(
        (BASE.replace("camera: 0", source), [f"5: lines[0].source.{text}"])
        for source, text in (
            (
                "camera: 0, format: mjpg",
                "format: must be the four letters of a format, such as MJPG or YUYV, not 'mjpg'",
            ),
            ("camera: 0, exposure: dark", "exposure: must be auto or a number from 0 to 1000000, not 'dark'"),
            ("camera: 0, focus: -1", "focus: must be auto or a number from 0 to 1000000, not -1"),
            ("camera: 0, gain: auto", "gain: must be a number, not 'auto'"),
            ("camera: 0, lost_after_s: 0.1", "lost_after_s: must be at least 0.5, not 0.1"),
            (
                "camera: 0, fps: 0.5",
                (
                    "fps: is a frame every 2 s, and without one for 1.5 s the camera counts as lost; "
                    "give a lost_after_s of 4 or more"
                ),
            ),
            ("rtsp: 'http://a/b'", f"rtsp: {RTSP}"),
            ("rtsp: 'rtsp://a:99999/b'", f"rtsp: {RTSP}"),
            ("rtsp: 'rtsp://a/b|x;1'", f"rtsp: {RTSP}"),
            (
                "rtsp: 'rtsp://u:secret@a/b'",
                "rtsp: must not hold a user name or a password; give username and password_file beside it",
            ),
            ("rtsp: 'rtsp://a', transport: http", "transport: must be one of tcp, udp, not 'http'"),
            ("rtsp: 'rtsp://a', password_file: p", "password_file: needs a username beside it; add one"),
            (
                "gstreamer: videotestsrc ! fakesink",
                "gstreamer: must end in an appsink, such as `… ! videoconvert ! video/x-raw,format=BGR ! appsink`",
            ),
            ("command: a, height: 2", "width: is missing; add it"),
            (
                "command: 'a \"b', width: 2, height: 2",
                "command: cannot be split into words (No closing quotation); close the quote",
            ),
            ("command: ' ', width: 2, height: 2", "command: must name a program, such as rpicam-vid"),
            (
                "command: a, width: 2, height: 2, pixel_format: rgb",
                "pixel_format: must be one of bgr24, rgb24, gray8, yuv420, nv12, yuyv, not 'rgb'",
            ),
            (
                "command: a, width: 2, height: 3, pixel_format: nv12",
                "height: must be even with pixel_format nv12, not 3",
            ),
            (
                "command: a, width: 3, height: 2, pixel_format: yuyv",
                "width: must be even with pixel_format yuyv, not 3",
            ),
        )
    ),
    (BASE.replace("camera: 0", "camera: 0, width: 0"), ["5: lines[0].source.width: must be at least 1, not 0"]),
    (
        BASE.replace("camera: 0", "video: a, pace: slow"),
        ["5: lines[0].source.pace: must be one of realtime, asap, not 'slow'"],
    ),
    (
        BASE.replace("camera: 0", "images: ''"),
        ["5: lines[0].source.images: must not be empty; give it a value or remove it"],
    ),
    (BASE + "    publish: passes\n", ["6: lines[0].publish: must be one of defects, all, not 'passes'"]),
]

STRUCTURE: list[tuple[str, list[str]]] = [
    ("model: bundle\n", [NO_LINES]),
    ("lines: []\n", ["1: lines: must have at least one entry"]),
    (
        "model: bundle\nlines:\n  - publish: all\n",
        [
            "3: lines[0].name: is missing; add it, such as line1",
            "3: lines[0].source: is missing; add it, such as {camera: /dev/video0}",
            "3: lines[0].topic: is missing; add it, such as factory/line1",
        ],
    ),
    ("node: a\n" + LINE, ["3: lines[0]: has no model; give one here or `model:` for every line"]),
    (LINE, ["2: lines[0]: has no model; give one here or `model:` for every line"]),
    (BASE.replace("camera: 0", ""), [f"{NO_SOURCE}, such as {{camera: /dev/video0}}"]),
    (BASE.replace("camera: 0", "usb: 1"), [f"{NO_SOURCE}, such as {{camera: /dev/video0}}"]),
    (
        BASE.replace("camera: 0", "camra: 0"),
        [f"{NO_SOURCE} (did you mean camera?), such as {{camera: /dev/video0}}"],
    ),
    (
        BASE.replace("camera: 0", "video: a, camera: 0, loop: true"),
        ["5: lines[0].source: a line has one source, not camera and video; keep one"],
    ),
    (
        BASE.replace("name: line1", "name: ''") + "  - name: ''\n    topic: b\n    source: {camera: 1}\n",
        [f"3: lines[0].name: '' {NAME}", f"6: lines[1].name: '' {NAME}"],
    ),
    (
        BASE + "  - name: line1\n    topic: factory/line1\n    source: {camera: 1}\n",
        [
            "6: lines[1].name: 'line1' is the name of lines[0] too; make it unique",
            "7: lines[1].topic: 'factory/line1' is the topic of lines[0] too; make it unique",
        ],
    ),
]

TABLE = SYNTAX + UNKNOWN + TYPES + VALUES + STRUCTURE
