"""What the command line asks of a graph, when an answer is lost."""

import threading

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import Trigger

from tmrl_ros.core import topics
from tmrl_ros.nodes import tool

LOST = 2


class Forgetful:
    """A stop whose first answers never arrive: the callback fails before it answers."""

    def __init__(self) -> None:
        self.asked = 0
        self._ended = threading.Event()
        self.node = rclpy.create_node("forgetful")
        self.node.create_service(Trigger, topics.STOP, self._answer)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _answer(self, _, response):
        self.asked += 1
        if self.asked <= LOST:
            raise ConnectionError("lost")
        response.success, response.message = True, "Stopped."
        return response

    def _spin(self) -> None:
        while not self._ended.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.05)
            except ConnectionError:
                continue

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def forgetful():
    rclpy.init(args=[])
    server, asker = Forgetful(), rclpy.create_node("asker")
    yield server, asker
    asker.destroy_node()
    server.close()
    rclpy.try_shutdown()


def test_a_stop_is_pressed_again_until_somebody_answers(forgetful, capsys) -> None:
    server, asker = forgetful
    request = Trigger.Request()
    again = {"answer_s": 20.0, "again_s": 0.2}
    assert tool.ask(asker, Trigger, topics.STOP, request, **again) == 0
    assert server.asked > LOST
    assert capsys.readouterr().out == "Stopped.\n"


def test_without_that_it_is_asked_once_and_said(forgetful, capsys) -> None:
    server, asker = forgetful
    assert tool.ask(asker, Trigger, topics.STOP, Trigger.Request(), answer_s=1.0) == 1
    assert server.asked <= 1
    assert "did not answer within 1 s." in capsys.readouterr().out
