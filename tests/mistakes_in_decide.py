"""Mistakes in `decide` of a line, and what is said about each, as in mistakes.py."""

from mistakes import BASE, EMPTY

OF_DECIDE = "per, min_score, thresholds, min_area, votes, presence, dwell, cooldown_s, timeout_s"
PER = "part, change, frame, trigger"
AREA = 'must be pixels, such as 40, or a share of the picture, such as "0.1 %"'
NAMES = "must be a mapping of names and values"

DECIDE: list[tuple[str, list[str]]] = [
    (
        BASE + "    decide: {min_scor: 1}\n",
        [f"6: lines[0].decide.min_scor: unknown key (did you mean min_score?); allowed are {OF_DECIDE}"],
    ),
    (
        BASE + "    decide: {votes: {nedd: 3}}\n",
        ["6: lines[0].decide.votes.nedd: unknown key (did you mean need?); allowed are of, need"],
    ),
    (
        BASE + "    decide: {threshold: {a: 1}, dwell: {min_frame: 1}}\n",
        [
            "6: lines[0].decide.dwell.min_frame: unknown key (did you mean min_frames?); allowed are min_frames, max_s",
            f"6: lines[0].decide.threshold: unknown key (did you mean thresholds?); allowed are {OF_DECIDE}",
        ],
    ),
    (BASE + "    decide: {min_score: high}\n", ["6: lines[0].decide.min_score: must be a number, not 'high'"]),
    (BASE + "    decide: {min_score: .nan}\n", ["6: lines[0].decide.min_score: must be a number, not '.nan'"]),
    *(
        (BASE + f"    decide: {{thresholds: {value}}}\n", [f"6: lines[0].decide.thresholds: {NAMES}, not {text}"])
        for value, text in (("0.5", "0.5"), ("[a]", "a list"))
    ),
    (BASE + "    decide: {thresholds: {a: high}}\n", ["6: lines[0].decide.thresholds.a: must be a number, not 'high'"]),
    (BASE + "    decide: {thresholds: {a: }}\n", [f"6: lines[0].decide.thresholds.a: {EMPTY}"]),
    *(
        (BASE + f"    decide: {{min_area: {{a: {value}}}}}\n", [f"6: lines[0].decide.min_area.a: {AREA}, not {text}"])
        for value, text in (("-1", "-1"), ("much", "'much'"), ("101 %", "'101 %'"), ("[1]", "a list"), ("true", "true"))
    ),
    (BASE + "    decide: {min_area: 5}\n", [f"6: lines[0].decide.min_area: {NAMES}, not 5"]),
    (
        BASE + "    decide: {thresholds: {a: 1, a: 0}}\n",
        ["6: lines[0].decide.thresholds.a: duplicate key, it stands on line 6 too; remove one of them"],
    ),
    (
        BASE + "    decide: {dwell: 3}\n",
        ["6: lines[0].decide.dwell: must be a mapping of keys and values, not 3; allowed keys are min_frames, max_s"],
    ),
    (
        BASE + "    decide: {dwell: {min_frames: 1.5, max_s: x}}\n",
        [
            "6: lines[0].decide.dwell.max_s: must be a number, not 'x'",
            "6: lines[0].decide.dwell.min_frames: must be a whole number, not 1.5",
        ],
    ),
    (BASE + "    decide: {cooldown_s: .inf}\n", ["6: lines[0].decide.cooldown_s: must be a number, not '.inf'"]),
    (
        BASE + "    decide: {per: trigger, timeout_s: 1s}\n",
        ["6: lines[0].decide.timeout_s: must be a number, not '1s'"],
    ),
    (
        BASE + "    decide: {votes: [5, 3]}\n",
        [
            "6: lines[0].decide.votes: must be a mapping of keys and values, not a list; allowed keys are of, need",
        ],
    ),
    *(
        (BASE + f"    decide: {{per: {per}}}\n", [f"6: lines[0].decide.per: must be one of {PER}, not '{per}'"])
        for per in ("parts", "Part")
    ),
    (BASE + "    decide: {min_score: 1.5}\n", ["6: lines[0].decide.min_score: must be at most 1, not 1.5"]),
    (BASE + "    decide: {min_score: -0.1}\n", ["6: lines[0].decide.min_score: must be at least 0, not -0.1"]),
    (
        BASE + "    decide: {votes: {of: 1001, need: 0}}\n",
        [
            "6: lines[0].decide.votes.need: must be at least 1, not 0",
            "6: lines[0].decide.votes.of: must be at most 1000, not 1001",
        ],
    ),
    (
        BASE + "    decide:\n      votes:\n        of: 2\n        need: 4\n",
        ["9: lines[0].decide.votes.need: need is 4 and cannot be more than of, which is 2; change one of them"],
    ),
    (
        BASE + "    decide:\n      votes:\n        of: 2\n",
        ["8: lines[0].decide.votes.of: need is 3 and cannot be more than of, which is 2; change one of them"],
    ),
    (
        BASE + "    decide: {thresholds: {a: 1.5, b: -1}}\n",
        [
            "6: lines[0].decide.thresholds.a: must be at most 1, not 1.5",
            "6: lines[0].decide.thresholds.b: must be at least 0, not -1",
        ],
    ),
    (
        BASE + "    decide: {presence: model}\n",
        ["6: lines[0].decide.presence: must be one of auto, background, label, not 'model'"],
    ),
    *(
        (
            BASE + f"    decide: {{dwell: {{min_frames: {frames}, max_s: {seconds}}}}}\n",
            [f"6: lines[0].decide.dwell.max_s: {of_s}", f"6: lines[0].decide.dwell.min_frames: {of_frames}"],
        )
        for frames, seconds, of_frames, of_s in (
            (0, 0, "must be at least 1, not 0", "must be at least 0.1, not 0"),
            (1001, 86401, "must be at most 1000, not 1001", "must be at most 86400, not 86401"),
        )
    ),
    (BASE + "    decide: {cooldown_s: -1}\n", ["6: lines[0].decide.cooldown_s: must be at least 0, not -1"]),
    (BASE + "    decide: {cooldown_s: 3601}\n", ["6: lines[0].decide.cooldown_s: must be at most 3600, not 3601"]),
    *(
        (BASE + f"    decide: {{per: trigger, timeout_s: {value}}}\n", [f"6: lines[0].decide.timeout_s: {text}"])
        for value, text in ((0, "must be at least 0.01, not 0"), (3601, "must be at most 3600, not 3601"))
    ),
    # What would be passed over is a mistake: whoever wrote it believes that it does something.
    *(
        (
            BASE + f"    decide: {{{given}}}\n",
            [f"6: lines[0].decide.{key}: has no effect with per: {per}; it is for per: {kinds}; remove it"],
        )
        for given, key, per, kinds in (
            ("timeout_s: 2", "timeout_s", "part", "trigger"),
            ("per: part, timeout_s: 2", "timeout_s", "part", "trigger"),
            ("per: frame, votes: {}", "votes", "frame", "part and change"),
            ("per: trigger, votes: {}", "votes", "trigger", "part and change"),
            ("per: change, presence: auto", "presence", "change", "part"),
            ("per: frame, dwell: {}", "dwell", "frame", "part"),
            ("per: trigger, cooldown_s: 0", "cooldown_s", "trigger", "part"),
        )
    ),
]
