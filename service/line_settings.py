"""From the configuration of a line to what `edge` needs to know of it."""

from pathlib import Path
from typing import Literal

from edge.area import Area
from edge.backends import EngineSettings
from edge.bundle import Bundle
from edge.decision import DecideSettings, Dwell, Votes
from edge.errors import BadFrameError, PermanentError
from edge.sources import (
    CameraSettings,
    CommandSettings,
    GStreamerSettings,
    ImagesSettings,
    RtspSettings,
    SourceSettings,
    VideoSettings,
)
from edge.tiles import grid
from edge.trust import TrustSettings
from service.sections import EngineSection, LineSection
from service.source_sections import (
    CameraSection,
    CommandSection,
    GStreamerSection,
    ImagesSection,
    RtspSection,
    VideoSection,
)


def engine_settings(section: EngineSection) -> EngineSettings:
    """What `edge` needs to know of the engine."""
    return EngineSettings(
        backend=section.backend,
        device=section.device,
        precision=section.precision,
        threads=section.threads,
        streams=section.streams,
        spinning=section.spinning,
        optimisation=section.optimisation,
        hint=section.hint,
        pinning=section.pinning,
        cache_dir=Path(section.cache_dir),
        tuning=Path(section.tuning),
        openvino_dir=Path(section.openvino_dir) if section.openvino_dir else None,
        fall_back_to_cpu=section.fall_back_to_cpu,
    )


def decide_settings(section: LineSection, bundle: Bundle) -> DecideSettings:
    """What `edge` needs to know of how a line decides.

    Raises:
        PermanentError: it names a label that the model does not know, or the model cannot do what it asks for.
    """
    decide = section.decide
    for key, labels in (("thresholds", decide.thresholds), ("min_area", decide.min_area)):
        for label in labels:
            if label not in bundle.labels:
                raise PermanentError(
                    f"line {section.name}: decide.{key} names {label!r}, which model {bundle.manifest.name} does not "
                    f"know: its labels are {', '.join(bundle.labels)}"
                )
    if decide.min_area and bundle.manifest.task != "segmentation":
        raise PermanentError(
            f"line {section.name}: decide.min_area needs a model that draws masks, and {bundle.manifest.name} is one "
            f"of the task {bundle.manifest.task}: remove it"
        )
    if bundle.manifest.pass_label in decide.min_area:
        raise PermanentError(
            f"line {section.name}: decide.min_area names {bundle.manifest.pass_label!r}, the pass label of model "
            f"{bundle.manifest.name}: name defects"
        )
    spec = bundle.manifest.input.spec
    if spec.resize == "tile" and section.roi is not None:
        try:
            grid(spec, section.roi[3], section.roi[2])
        except BadFrameError as error:
            raise PermanentError(f"line {section.name}: {error}") from error
    if decide.presence == "label" and bundle.manifest.absent_label is None:
        raise PermanentError(
            f"line {section.name}: decide.presence: label needs a model with an absent_label, and "
            f"{bundle.manifest.name} has none: use background"
        )
    return DecideSettings(
        per=decide.per,
        min_score=decide.min_score,
        thresholds=decide.thresholds,
        votes=Votes(decide.votes.of, decide.votes.need),
        presence=decide.presence,
        dwell=Dwell(decide.dwell.min_frames, decide.dwell.max_s),
        cooldown_s=decide.cooldown_s,
        timeout_s=decide.timeout_s,
        min_area={label: Area.parse(value) for label, value in decide.min_area.items()},
    )


def may_look_ahead(section: LineSection, bundle: Bundle) -> bool:
    """Whether the model may see a frame before the one before was decided on.

    It may when nobody waits for a single frame, and what it is shown depends on no other one.
    """
    source = section.source
    waiting = (isinstance(source, VideoSection) and source.pace == "asap") or (
        isinstance(source, ImagesSection) and not source.watch
    )
    whole = bundle.manifest.task == "classification" and bundle.manifest.input.resize != "tile"
    return waiting and whole and section.decide.per in ("frame", "change")


def trust_settings(section: LineSection) -> TrustSettings:
    """What `edge` needs to know of when a picture is not trusted."""
    trust = section.trust

    def threshold(value: float | Literal["off"]) -> float | None:
        return None if value == "off" else value

    return TrustSettings(
        frozen_s=threshold(trust.frozen_s),
        black=threshold(trust.black),
        overexposed=threshold(trust.overexposed),
        focus=threshold(trust.focus),
        moved=threshold(trust.moved),
        covered=threshold(trust.covered),
    )


def source_settings(section: LineSection, records: Path | None = None) -> SourceSettings:
    """What `edge` needs to know of a line's source.

    Args:
        section: of the line.
        records: the folder for what is kept of watched folders; None to try a source out, which leaves no trace.
    """
    source = section.source
    match source:
        case CameraSection():
            return CameraSettings(**source.model_dump())
        case RtspSection():
            return RtspSettings(**source.model_dump())
        case GStreamerSection():
            return GStreamerSettings(**source.model_dump())
        case CommandSection():
            return CommandSettings(**source.model_dump(), folder=str(Path.cwd()))
        case VideoSection():
            return VideoSettings(Path(source.video), source.pace, source.loop)
        case _:
            record = records / f"inspected-{section.name}" if source.watch and records is not None else None
            return ImagesSettings(source.images, record)
