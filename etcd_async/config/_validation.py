"""What makes settings of a configuration: a pydantic model, or any callable that takes the dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from etcd_async.config._leaves import Values

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class PydanticModel(Protocol[T_co]):
    """The part of pydantic's ``BaseModel`` that is used, so that pydantic need not be installed."""

    def model_validate(self, obj: Any) -> T_co:
        """Return the settings, or raise what is wrong with them."""
        ...


Model: TypeAlias = "type[T] | PydanticModel[T] | Callable[[Values], T]"


def validated(model: Any, values: Values) -> Any:
    """Return *values* as *model* makes of them; as they are without one."""
    if model is None:
        return values
    return model.model_validate(values) if hasattr(model, "model_validate") else model(values)
