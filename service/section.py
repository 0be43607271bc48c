"""What the sections of the configuration are made of: the mapping that they all are, and values that several have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from service.yaml_lines import shown

UpTo65535 = Annotated[int, Field(ge=1, le=65535)]


def _relative_to_the_file(path: str, info: ValidationInfo) -> str:
    base: Path = info.context["base"] if info.context else Path()
    try:
        return str(base / Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError(f"{shown(path)} begins with the home of nobody here; give a full path") from error


FileName = Annotated[str, Field(min_length=1), AfterValidator(_relative_to_the_file)]


class Section(BaseModel):
    """A mapping in the file: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def across(cls, _given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """What its keys say against each other: (key, what is wrong).

        It is asked of the mapping as it stands in the file, so that a mistake in one key does not hide another.
        """
        yield from ()
