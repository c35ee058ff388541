"""What a person can ask of the graph, for every surface that has buttons: web page, RViz.

Requests go out on the caller's thread at once; answers come through the executor of the node. A
stop therefore never waits for anything else the node has to do.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from tmrl_msgs.action import RunEpisodes
from tmrl_msgs.srv import LabelEpisode
from tmrl_ros.console.buttons import Answer
from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.core.types import EpisodeOutcome, Phase
from tmrl_ros.nodes.common import NEWEST
from tmrl_ros.session.seeds import PHASE_NAMES, split_episode_id

OUTCOMES = {outcome.name.lower(): outcome for outcome in EpisodeOutcome if outcome.value}
SESSION_NODE = "session"
NOBODY = "{} does not answer: does the graph run?"


class OperatorCalls:
    """Clients of the services behind the buttons.

    Args:
        node: Node they belong to; it must be spun for answers to come.
        config: The session's configuration.
        by: Who labels, as it will stand in the bags.
    """

    def __init__(self, node: Node, config: Config, by: str) -> None:
        self._node = node
        self._config = config
        self._by = by
        group = ReentrantCallbackGroup()

        def client(kind: Any, name: str) -> Any:
            return node.create_client(kind, name, callback_group=group)

        self._stop = client(Trigger, topics.STOP)
        self._reset = client(Trigger, topics.RESET)
        self._label = client(LabelEpisode, topics.LABEL_EPISODE)
        self._pause = client(SetBool, topics.PAUSE)
        self._settings = client(SetParameters, topics.MANAGER_PARAMETERS)
        self._holds = node.create_publisher(Bool, topics.HOLD_TO_RUN, NEWEST)
        self._run = ActionClient(node, RunEpisodes, topics.RUN_EPISODES, callback_group=group)

    def stop(self) -> Future[Answer]:
        """Press the software stop."""
        return self._ask(self._stop, Trigger.Request())

    def reset(self) -> Future[Answer]:
        """Release the software stop; refused while a cause is present."""
        return self._ask(self._reset, Trigger.Request())

    def pause(self) -> Future[Answer]:
        """Hold back further episodes; the running one goes on to its end."""
        return self._ask(self._pause, SetBool.Request(data=True))

    def start(self) -> Future[Answer]:
        """Let episodes go on; in a graph where nobody asks for episodes, run one."""
        found: Future[Answer] = Future()

        def decide(asked: Future[Answer]) -> None:
            answer = asked.result()
            somebody_asks = SESSION_NODE in self._node.get_node_names()
            if answer.success or somebody_asks or not self._run.server_is_ready():
                _set(found, answer)
            else:
                self._run_one(found)

        self._ask(self._pause, SetBool.Request(data=False)).add_done_callback(decide)
        return found

    def prompt(self, text: str) -> Future[Answer]:
        """Tell the policy something else from the next episode on; "" is the task's own."""
        if not self._settings.service_is_ready():
            return _done(Answer(False, NOBODY.format(self._settings.srv_name)))
        found: Future[Answer] = Future()
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text.strip())
        request = SetParameters.Request(parameters=[Parameter(name="prompt", value=value)])

        def pass_on(answered: Any) -> None:
            (result,) = answered.result().results
            told = text.strip() or "the task's own text"
            done = f"From the next episode on: {told}"
            _set(found, Answer(result.successful, done if result.successful else result.reason))

        self._settings.call_async(request).add_done_callback(pass_on)
        return found

    def hold(self, held: bool) -> None:
        """Say that the hold-to-run button is held, or released; say it again while it is held."""
        self._holds.publish(Bool(data=held))

    def label(self, outcome: str, episode: str) -> Future[Answer]:
        """Say how an episode ended.

        Args:
            outcome: `success`, `failure`, `timeout` or `aborted`.
            episode: Its name; "" is the running or else the latest one.
        """
        if outcome not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            return _done(Answer(False, f"{outcome!r} is no outcome; known are {known}."))
        request = LabelEpisode.Request(
            episode_id=episode, outcome=int(OUTCOMES[outcome]), labelled_by=self._by
        )
        return self._ask(self._label, request)

    def _ask(self, client: Any, request: Any) -> Future[Answer]:
        """Send now; the answer's future is done by the node's executor."""
        if not client.service_is_ready():
            return _done(Answer(False, NOBODY.format(client.srv_name)))
        found: Future[Answer] = Future()

        def pass_on(answered: Any) -> None:
            reply = answered.result()
            text = reply.message or ("Done." if reply.success else "Refused.")
            _set(found, Answer(bool(reply.success), text))

        client.call_async(request).add_done_callback(pass_on)
        return found

    def _run_one(self, found: Future[Answer]) -> None:
        """Ask for one episode that nothing is learned from."""
        goal = RunEpisodes.Goal(
            phase=int(Phase.OTHER),
            episodes=1,
            start_index=self._next_index(),
            seed=self._config.session.seed,
            deterministic=True,
        )

        def accepted(answered: Any) -> None:
            taken = answered.result().accepted
            text = "One episode begins." if taken else "Episodes are being run already."
            _set(found, Answer(taken, text))

        self._run.send_goal_async(goal).add_done_callback(accepted)

    def _next_index(self) -> int:
        """First index of the phase that no bag of the session has."""
        folder = self._config.session.dir / "episodes"
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        found = [split_episode_id(name.partition(".")[0]) for name in names]
        wanted = PHASE_NAMES[Phase.OTHER]
        return max((item[1] + 1 for item in found if item and item[0] == wanted), default=0)


def _done(answer: Answer) -> Future[Answer]:
    future: Future[Answer] = Future()
    future.set_result(answer)
    return future


def _set(future: Future[Answer], answer: Answer) -> None:
    """Answer a future whose asker may have given up waiting."""
    with contextlib.suppress(InvalidStateError):
        future.set_result(answer)
