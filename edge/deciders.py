"""The one place that knows every kind of decider."""

from edge.decision import Decider, DecideSettings, Judge, PerChange, PerFrame
from edge.parts import PerPart, PerPartByLabel
from edge.stills import Stills


def make_decider(
    settings: DecideSettings, pass_label: str, absent_label: str | None = None, stills: Stills | None = None
) -> Decider:
    """The decider that `settings.per` asks for.

    Args:
        settings: how decisions are made.
        pass_label: the label of a good part.
        absent_label: what the model says when there is no part, None when it knows no such label.
        stills: for pictures of what is rejected or in doubt; None when nobody wants them.
    """
    judge = Judge(pass_label, absent_label, settings.min_score, settings.thresholds)
    if settings.per == "part":
        by_label = absent_label is not None and settings.presence != "background"
        return PerPartByLabel(settings, judge, stills) if by_label else PerPart(settings, judge, stills)
    if settings.per == "change":
        return PerChange(judge, settings.votes)
    return PerFrame(judge)
