"""Test only: let a callback of a node fail, to see what becomes of it (`tmrl faults`).

Nothing of this is there unless the environment says `TMRL_REHEARSAL=1`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

ENVIRONMENT = "TMRL_REHEARSAL"
PARAMETER = "rehearsal.raise"
NAMES = "rehearsal.callbacks"


class Mishaps:
    """The callbacks of one node, and which of them is to fail the next time it is called."""

    def __init__(self, node: Node) -> None:
        """Offer the parameters `rehearsal.callbacks`, names, and `rehearsal.raise`, one of them."""
        self._node = node
        self._names: list[str] = []
        self._next = ""
        node.declare_parameter(NAMES, "", ParameterDescriptor(description="test only"))
        about = ParameterDescriptor(description="test only: callback that is to fail next")
        node.declare_parameter(PARAMETER, "", about)
        node.add_on_set_parameters_callback(self._on_parameters)

    def breakable(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The callback, which fails once when it is told to."""
        name = f"{getattr(callback, '__name__', 'callback')}#{len(self._names)}"
        self._names.append(name)
        self._node.set_parameters([Parameter(NAMES, value=" ".join(self._names))])

        @functools.wraps(callback)
        def call(*args: Any) -> Any:
            if self._next == name:
                self._next = ""
                raise RuntimeError(f"A rehearsed fault in {name}.")
            return callback(*args)

        return call

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == PARAMETER:
                self._next = parameter.value
        return SetParametersResult(successful=True)


def mishaps_of(node: Node) -> Mishaps | None:
    """Those of a node in a rehearsal, None everywhere else."""
    return Mishaps(node) if os.environ.get(ENVIRONMENT) == "1" else None
