"""Mistakes in `http`, and what is said about each, as in mistakes.py."""

from mistakes import BASE

LISTEN = "must be an address and a port such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
REACHED = "can be reached from the network; add a password_file, or listen on 127.0.0.1"
OF_HTTP = "listen, username, password_file, tls, shifts"

HTTP: list[tuple[str, list[str]]] = [
    (BASE + "http: {port: 1}\n", [f"6: http.port: unknown key; allowed are {OF_HTTP}"]),
    (
        BASE + "http: true\n",
        [f"6: http: must be a mapping of keys and values, not true; allowed keys are {OF_HTTP}"],
    ),
    *(
        (
            BASE + f"http: {{listen: '{listen}'}}\n",
            [f"6: http.listen: {LISTEN}, not '{listen}'"],
        )
        for listen in (
            "8080",
            "cell-7:8080",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "1.2.3:80",
            "::1:80",
            "[::]",
        )
    ),
    *(
        (
            BASE + f"http: {{listen: '{listen}'}}\n",
            [f"6: http.listen: {listen} {REACHED}"],
        )
        for listen in ("0.0.0.0:8080", "192.168.1.7:80", "[::]:8080", "[fe80::1]:8080")
    ),
    (BASE + "http: {username: me}\n", ["6: http.username: needs a password_file beside it; add one"]),
    (
        BASE + "http: {username: 'a:b', password_file: p}\n",
        ["6: http.username: must not hold a colon, which ends a user name, not 'a:b'"],
    ),
    (BASE + "http: {tls: {cert_file: a}}\n", ["6: http.tls.key_file: is missing; add it"]),
    (BASE + "http: {tls: {key_file: a}}\n", ["6: http.tls.cert_file: is missing; add it"]),
    (BASE + "http: {shifts: []}\n", ["6: http.shifts: must have at least one entry"]),
    *(
        (
            BASE + f"http: {{shifts: [06:00, {text}]}}\n",
            [f"6: http.shifts[1]: must be a time of day such as 06:00, not '{text}'"],
        )
        for text in ("6:00", "24:00", "12:60", "noon")
    ),
]
