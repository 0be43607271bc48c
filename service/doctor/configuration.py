"""The configuration file: every mistake, as `edgecls check-config` names it."""

import os
from collections.abc import Iterator

from service.doctor.case import Case, is_missing
from service.doctor.finding import Finding, error, ok, warning


def configuration(case: Case) -> Iterator[Finding]:
    """What is wrong with it, or that nothing is."""
    subject = str(case.config)
    if case.settings is not None:
        told = ", ".join(f"{line.name} -> {line.topic}/defects" for line in case.settings.lines)
        yield ok(subject, f"is fine: {told}", lines=[line.name for line in case.settings.lines])
    elif is_missing(case.config):
        remedy = "name one with --config FILE; packaging/edgecls.yaml is one to begin with, which ./install.sh installs"
        yield error(subject, "there is no such file", remedy)
    elif not os.access(case.config, os.R_OK):
        yield warning(subject, "this user may not read it, so nothing in it was looked at", "sudo edgecls doctor")
    else:
        for problem in case.problems:
            text = f"line {problem.line}: {problem.key}: {problem.message}" if problem.key else problem.message
            remedy = f"correct it, then: edgecls check-config {case.config}"
            yield error(subject, text, remedy, line=problem.line, key=problem.key)
