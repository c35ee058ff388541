"""The guided recovery as services: `robot/recover_errors`, `_hardware`, `_controllers`.

A person calls each of them (`tmrl recover <step>`); nothing here calls any by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lifecycle_msgs.msg import State
from rclpy.node import Node
from std_srvs.srv import Trigger

from tmrl_ros.core import topics
from tmrl_ros.core.franka_config import FrankaConfig
from tmrl_ros.nodes.calls import Calls
from tmrl_ros.nodes.franka_interfaces import (
    ErrorRecovery,
    ListControllers,
    SetHardwareComponentState,
    SwitchController,
)
from tmrl_ros.robots.franka.faults import FaultModel
from tmrl_ros.robots.franka.recovery import Recovery, Step

FRESH_S = 3.0
"""How long the first state is waited for after the broadcasters are active again."""


class RecoveryServices:
    """Carries out the three steps.

    Args:
        node: The driver.
        calls: Its bounded calls.
        franka: Names.
        faults: What is wrong with the robot; cleared when all steps are done.
        seed: Sends the pose measured now to the controller; False when there is none. The
            controller remembers the last pose it was sent while it was inactive and would go there.
        stopped_by: What the robot says of the end of its last motion, once it speaks again.
    """

    def __init__(
        self,
        node: Node,
        calls: Calls,
        franka: FrankaConfig,
        faults: FaultModel,
        seed: Callable[[], bool],
        stopped_by: Callable[[], tuple[str, ...]],
    ) -> None:
        self.recovery = Recovery()
        self._node, self._calls, self._franka = node, calls, franka
        self._faults, self._seed, self._stopped_by = faults, seed, stopped_by
        manager = franka.controller_manager
        self._errors = calls.action_client(ErrorRecovery, franka.name(franka.error_recovery))
        self._hardware = calls.client(
            SetHardwareComponentState, franka.name(f"{manager}/set_hardware_component_state")
        )
        self._list = calls.client(ListControllers, franka.name(f"{manager}/list_controllers"))
        self._switch = calls.client(SwitchController, franka.name(f"{manager}/switch_controller"))
        for step in Step:
            node.create_service(
                Trigger, topics.recover(step.word), self._service(step), callback_group=calls.group
            )

    def _service(self, step: Step) -> Callable[..., object]:
        act = {
            Step.ERRORS: self._recover_errors,
            Step.HARDWARE: self._activate_hardware,
            Step.CONTROLLERS: self._activate_controllers,
        }[step]

        async def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.message = self.recovery.begin(
                step, needed=self._faults.needs_recovery, pressed=self._faults.pressed
            )
            if response.message:
                return response
            why_not = "it was interrupted."
            try:
                why_not = await act()
            finally:
                response.success, response.message = self.recovery.end(step, why_not)
            if response.success and step is Step.CONTROLLERS:
                self._faults.cleared()
                if names := self._stopped_by():
                    response.message += f" It had been stopped by {', '.join(names)}."
            self._node.get_logger().warning(f"Recovery: {response.message}")
            return response

        return answer

    async def _recover_errors(self) -> str:
        goal, timeout_s = ErrorRecovery.Goal(), self._franka.recovery_timeout_s
        return (await self._calls.action(self._errors, goal, timeout_s))[1]

    async def _activate_hardware(self) -> str:
        wanted = State(id=State.PRIMARY_STATE_ACTIVE, label="active")
        request = SetHardwareComponentState.Request(name=self._franka.hardware, target_state=wanted)
        answer, why_not = await self._calls.service(
            self._hardware, request, self._franka.recovery_timeout_s
        )
        if answer is not None and not answer.ok:
            return (
                f"{self._franka.hardware} stays {answer.state.label}: is FCI active in Desk? If it "
                "does not help, start the robot's launch file again."
            )
        return why_not

    async def _activate_controllers(self) -> str:
        """First what measures, then the present pose as target, then what moves."""
        why_not = await self._activate(self._franka.broadcasters)
        if why_not:
            return why_not
        deadline = time.monotonic() + FRESH_S
        while not self._seed():
            if time.monotonic() > deadline:
                return f"the robot still says no pose after {FRESH_S:g} s."
            await self._calls.pause(0.05)
        return await self._activate([self._franka.controller])

    async def _activate(self, wanted: list[str]) -> str:
        timeout_s = self._franka.recovery_timeout_s
        listed, why_not = await self._calls.service(
            self._list, ListControllers.Request(), timeout_s
        )
        if listed is None:
            return why_not
        states = {item.name: item.state for item in listed.controller}
        if missing := [name for name in wanted if name not in states]:
            return f"the controller {missing[0]} is not loaded."
        # Strict switching refuses what is active already.
        inactive = [name for name in wanted if states[name] != "active"]
        if not inactive:
            return ""
        request = SwitchController.Request(
            activate_controllers=inactive, strictness=SwitchController.Request.STRICT
        )
        request.timeout.sec = int(timeout_s)
        answer, why_not = await self._calls.service(self._switch, request, timeout_s)
        if answer is not None and not answer.ok:
            said = getattr(answer, "message", "")
            return f"{', '.join(inactive)} could not be activated ({said or 'no reason given'})."
        return why_not
