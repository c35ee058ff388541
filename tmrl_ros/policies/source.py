"""Where a session's frozen policy comes from: the bundle of its task, or a policy server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tmrl_ros.core.config import Config
from tmrl_ros.policies.bundle import PolicySpec, check_bundle, check_fit
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.policy import Policy

if TYPE_CHECKING:
    from tmrl_ros.serving.client import VlaClient


def check_policy(config: Config) -> PolicySpec:
    """Compare the policy with robot, cell and method before anything moves.

    Raises:
        OperatorError: One sentence: what does not fit, or why the server cannot be asked.
    """
    if not config.policy.remote:
        return check_bundle(config.task.bundle, config)
    client, spec = _connected(config)
    client.close()
    return spec


def open_policy(config: Config) -> tuple[Policy, PolicySpec, str]:
    """The policy to act with, its description, and what samples it, in words.

    Raises:
        OperatorError: As `check_policy`, or the bundle cannot be loaded.
    """
    session = config.session
    if not config.policy.remote:
        spec = check_bundle(config.task.bundle, config)
        policy, how = load_policy(config.task.bundle, session.inference, session.torch_threads)
        return policy, spec, how
    from tmrl_ros.policies.remote import RemotePolicy

    client, spec = _connected(config)
    name = "openpi" if client.offer is None else client.offer.spec.name
    return RemotePolicy(client, spec, config), spec, f"{name} at {client.url}"


def _connected(config: Config) -> tuple[VlaClient, PolicySpec]:
    """A client of the configured server, and its policy, which fits."""
    from tmrl_ros.policies.remote_spec import remote_spec  # with msgpack and websockets
    from tmrl_ros.serving.access import read_token
    from tmrl_ros.serving.client import VlaClient

    settings = config.policy
    token = read_token(settings.token_file) if settings.token_file else ""
    client = VlaClient(settings.url, token=token, timeout_s=config.policy_timeout_s)
    client.connect(settings.connect_s)
    try:
        spec = remote_spec(config, client.offer, settings.url)
        check_fit(spec, config, settings.url)
    except BaseException:
        client.close()
        raise
    return client, spec
