"""What the figures come to, in plain sentences."""

from collections.abc import Iterable, Sequence

from service.bench.report import Candidate, Refused, Result

CLEARLY = 0.03
"""A difference below this share is none."""
UNSTEADY = 0.15
"""Rounds that differ by more than this share were disturbed."""


def sentences(candidates: Sequence[Candidate], refused: Sequence[Refused], video: str) -> list[str]:
    """For people.

    Args:
        candidates: what was measured, the quickest engine first.
        refused: what does not work here.
        video: as in `Report`.
    """
    said = [*_quickest(candidates), *_int8(candidates), *_overhead(candidates)]
    said += [f"Not measured: {one.plan}: {one.why}." for one in refused]
    if video.startswith("none"):
        said.append(f"Not measured: a video: {video.removeprefix('none: ')}.")
    return said + list(_unsteady(candidates))


def _quickest(candidates: Sequence[Candidate]) -> Iterable[str]:
    if not candidates:
        return
    best = candidates[0]
    whole = best.results.get("hd")
    through = f", {whole.fps:.0f} through the whole pipeline with frames of 1280x720" if whole else ""
    yield f"The quickest is {best.name}: {best.results['engine'].fps:.0f} frames per second by itself{through}."
    floor = best.results["engine"].fps * (1 - CLEARLY)
    ties = [one.name for one in candidates[1:] if one.results["engine"].fps >= floor]
    if ties:
        yield f"As quick, within {CLEARLY:.0%}: {', '.join(ties)}."


def _int8(candidates: Sequence[Candidate]) -> Iterable[str]:
    """INT8 against FP32, each with the threads that suit it best."""
    for backend, device in dict.fromkeys((one.plan.backend, one.plan.device) for one in candidates):
        here = [one for one in candidates if (one.plan.backend, one.plan.device) == (backend, device)]
        int8 = next((one for one in here if one.plan.precision == "int8"), None)
        fp32 = next((one for one in here if one.plan.precision == "fp32"), None)
        if int8 is None or fp32 is None:
            continue
        ratio = int8.results["engine"].fps / fp32.results["engine"].fps
        figures = f"{int8.results['engine'].fps:.0f} against {fp32.results['engine'].fps:.0f} frames per second"
        on = backend if device == "cpu" else f"{backend} on {device}"
        if ratio < 1 - CLEARLY:
            yield f"INT8 loses to FP32 with {on}: {ratio:.2f} of its speed ({figures}); use `precision: fp32` there."
        elif ratio <= 1 + CLEARLY:
            yield f"INT8 gains nothing over FP32 with {on} ({figures})."
        else:
            yield f"INT8 is {ratio:.2f} times as fast as FP32 with {on} ({figures})."


def _overhead(candidates: Sequence[Candidate]) -> Iterable[str]:
    for best in candidates[:1]:
        small, large = best.results.get("model_size"), best.results.get("hd")
        if small is None or large is None:
            continue
        yield (
            f"With it the pipeline takes {_more(small)} per frame than the engine alone when frames have the model's "
            f"size, and {_more(large)} with 1280x720; {small.stages['rest'].p50 * 1e3:.0f} µs of it are neither "
            "preprocessing nor inference."
        )


def _more(result: Result) -> str:
    us, percent = result.overhead_us or 0.0, result.overhead_percent or 0.0
    return f"{abs(us):.0f} µs ({abs(percent):.1f} %) {'more' if us >= 0 else 'less'}"


def _unsteady(candidates: Sequence[Candidate]) -> Iterable[str]:
    disturbed = [
        one.name
        for one in candidates
        for rounds in [[turn.fps for turn in one.results["engine"].rounds]]
        if max(rounds) > min(rounds) * (1 + UNSTEADY)
    ]
    if disturbed:
        yield (
            f"The rounds of {len(disturbed)} of {len(candidates)} engines differ by more than {UNSTEADY:.0%}: "
            "something else kept this device busy, or its clock changed: measure again when it is idle."
        )
