"""What a key allows: DDS Security governance and permissions (OMG DDS-SECURITY 1.1, section 9.4).

Topics are named as DDS knows them: `rt/` topics, `rq/` requests and `rr/` replies of services.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from xml.sax.saxutils import escape

from tmrl_ros.core import topics

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
DOMAINS = "<domains><id_range><min>0</min><max>230</max></id_range></domains>"
"""All of them. Fast DDS takes a range without a maximum for one domain."""
EVERYTHING = ("*",)
COMMANDS = (
    topics.ROBOT_TARGET,
    topics.RESET_CHUNK,
    topics.TELEOP_COMMAND,
    topics.HOLD_TO_RUN,
    topics.SAFETY_STATE,
    topics.ROBOT_STATE,
)
"""What moves the arm, or speaks for its software stop: the robot PC's alone."""
RESETS = (topics.RESET, topics.SCENE_READY, "robot/recover_*", topics.HOME_GRIPPER)
"""Requests by which only somebody at the robot PC may let the arm move again."""
ANSWERS = ("rr/*safety_supervisor/*Reply",)
"""By which somebody else could say that the arm has stopped."""
OF_A_NODE = (
    *("describe_parameters", "get_parameters", "get_parameter_types", "list_parameters"),
    *("set_parameters", "set_parameters_atomically", "get_type_description"),
)
"""Services that every ROS node offers."""
SPEAKS = (
    *("ros_discovery_info", "rt/rosout", "rt/parameter_events"),
    *(f"rr/*/{name}Reply" for name in OF_A_NODE),
)
HEARS = ("ros_discovery_info", "rt/*", *(f"rq/*/{name}Request" for name in OF_A_NODE))


def of_topics(names: Sequence[str]) -> list[str]:
    """Topics by these relative names, in whatever namespace."""
    return [f"rt/*{name}" for name in names]


def of_requests(names: Sequence[str]) -> list[str]:
    """Requests to services by these relative names, in whatever namespace."""
    return [f"rq/*{name}Request" for name in names]


ROLES: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    # role: may not publish, may publish, may subscribe to
    "robot": ((), EVERYTHING, EVERYTHING),
    "gpu": ([*of_topics(COMMANDS), *of_requests(RESETS), *ANSWERS], EVERYTHING, EVERYTHING),
    "viewer": ((), SPEAKS, HEARS),
}


def governance() -> str:
    """Nobody takes part without a key; everything is encrypted."""
    return f"""{HEAD}<dds>
  <domain_access_rules>
    <domain_rule>
      {DOMAINS}
      <allow_unauthenticated_participants>false</allow_unauthenticated_participants>
      <enable_join_access_control>true</enable_join_access_control>
      <discovery_protection_kind>ENCRYPT</discovery_protection_kind>
      <liveliness_protection_kind>ENCRYPT</liveliness_protection_kind>
      <rtps_protection_kind>SIGN</rtps_protection_kind>
      <topic_access_rules>
        <topic_rule>
          <topic_expression>*</topic_expression>
          <enable_discovery_protection>true</enable_discovery_protection>
          <enable_liveliness_protection>true</enable_liveliness_protection>
          <enable_read_access_control>true</enable_read_access_control>
          <enable_write_access_control>true</enable_write_access_control>
          <metadata_protection_kind>ENCRYPT</metadata_protection_kind>
          <data_protection_kind>ENCRYPT</data_protection_kind>
        </topic_rule>
      </topic_access_rules>
    </domain_rule>
  </domain_access_rules>
</dds>
"""


def permissions(subject: str, role: str, begin: datetime, end: datetime) -> str:
    """What the holder of one key may do.

    Args:
        subject: Common name of its certificate.
        role: One of `ROLES`.
        begin: Valid from, UTC.
        end: Valid until, UTC.
    """
    denied, publish, subscribe = ROLES[role]
    rules = _rule("deny_rule", publish=denied) if denied else ""
    rules += _rule("allow_rule", publish=publish, subscribe=subscribe)
    name = escape(subject)
    return f"""{HEAD}<dds>
  <permissions>
    <grant name="{name}">
      <subject_name>CN={name}</subject_name>
      <validity>
        <not_before>{begin:%Y-%m-%dT%H:%M:%S}</not_before>
        <not_after>{end:%Y-%m-%dT%H:%M:%S}</not_after>
      </validity>
{rules}      <default>DENY</default>
    </grant>
  </permissions>
</dds>
"""


def _rule(kind: str, *, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> str:
    text = f"      <{kind}>\n        {DOMAINS}\n"
    for word, names in (("publish", publish), ("subscribe", subscribe)):
        if names:
            listed = "".join(f"<topic>{escape(name)}</topic>" for name in names)
            text += f"        <{word}><topics>{listed}</topics></{word}>\n"
    return f"{text}      </{kind}>\n"
