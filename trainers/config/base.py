"""The base of all configuration: immutable models, their types, and canonical JSON, one text for equal data."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Returns canonical JSON.
as_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Frozen(BaseModel):
    """Base of all configuration: immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, without the original's cached values."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy

    def _data(self) -> dict[str, Any]:
        """Return the configuration as plain data."""
        return self.model_dump(mode="json")

    @cached_property
    def _canonical(self) -> str:
        return as_json(self._data())

    def canonical_json(self) -> str:
        """Return the configuration as canonical JSON; `model_validate_json` reads it back."""
        return self._canonical


def set_fields(model: Frozen, **values: Any) -> None:
    """Set fields of a frozen model from within its validator; they count as not set by the user."""
    for name, value in values.items():
        object.__setattr__(model, name, value)
        model.model_fields_set.discard(name)


def _no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


#: A number, also as a text that YAML takes for no number, such as 1e-4. True and false are none, unlike in Python.
Number = Annotated[float, BeforeValidator(_no_truth_value)]
PositiveInt = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
StrictBool = Annotated[bool, Field(strict=True)]
