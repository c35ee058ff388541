"""Rewards that were computed again after recording: files beside a bag, which itself never changes.

`<bag>/reward-<model hash>.json` holds one model's estimates of one episode.
`<session>/relabelled.json` names the model whose estimates count instead of the recorded ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmrl_ros.core.types import Reward
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.episodes_log import write_json_atomic

CHOICE_FILE = "relabelled.json"


@dataclass(frozen=True)
class Sidecar:
    """Estimates of one episode: which model made them, with which rule for success, and when.

    `made_at` is UTC in ISO 8601; `rule` holds threshold, k and n.
    """

    episode_id: str
    model: str
    model_hash: str
    rule: dict[str, float]
    made_at: str
    command: str
    rewards: Sequence[Reward]


def sidecar_file(bag: Path, model_hash: str) -> Path:
    """Where the estimates of a model lie."""
    return bag / f"reward-{model_hash}.json"


def write_sidecar(bag: Path, sidecar: Sidecar) -> Path:
    """Write estimates beside a bag, whole or not at all; those of the same model are replaced."""
    values = {
        "episode_id": sidecar.episode_id,
        "model": sidecar.model,
        "model_hash": sidecar.model_hash,
        "rule": sidecar.rule,
        "made_at": sidecar.made_at,
        "command": sidecar.command,
        "rewards": [_as_json(reward) for reward in sidecar.rewards],
    }
    path = sidecar_file(bag, sidecar.model_hash)
    write_json_atomic(path, values)
    return path


def read_sidecar(bag: Path, model_hash: str) -> Sidecar | None:
    """Estimates of a model beside a bag, None if it made none.

    Raises:
        BagError: The file is damaged.
    """
    path = sidecar_file(bag, model_hash)
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        rewards = [
            _from_json(item, values["episode_id"], values["model"], model_hash)
            for item in values["rewards"]
        ]
        rule = {str(key): float(value) for key, value in values["rule"].items()}
        texts = [str(values[key]) for key in ("episode_id", "model", "made_at", "command")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BagError(
            f"{path} is damaged ({type(error).__name__}: {error}): delete it, or make it again "
            "with `tmrl reward relabel`."
        ) from None
    return Sidecar(texts[0], texts[1], model_hash, rule, texts[2], texts[3], rewards)


def choose(session: Path, model_hash: str) -> None:
    """Let the estimates of a model count for a session; an empty hash: the recorded ones."""
    write_json_atomic(session / CHOICE_FILE, {"model_hash": model_hash})


def chosen(session: Path) -> str:
    """Hash of the model whose estimates count; empty for the recorded ones.

    Raises:
        BagError: The file that says so is damaged.
    """
    path = session / CHOICE_FILE
    if not path.is_file():
        return ""
    try:
        return str(json.loads(path.read_text())["model_hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise BagError(f"{path} is damaged ({error}): delete it, or relabel again.") from None


def _as_json(reward: Reward) -> dict[str, Any]:
    """One estimate, without what is the same for all of an episode."""
    return {
        "stamp_ns": reward.stamp_ns,
        "sequence": reward.sequence,
        "decision": reward.decision,
        "valid": reward.valid,
        "progress": reward.progress,
        "success_probability": reward.success_probability,
        "success": reward.success,
        "failure": reward.failure,
        "error": reward.error,
        "latency_ms": reward.latency_ms,
    }


def _from_json(values: dict[str, Any], episode_id: str, model: str, model_hash: str) -> Reward:
    def number(value: float | None) -> float:  # one that is not known was written as null
        return math.nan if value is None else float(value)

    return Reward(
        stamp_ns=int(values["stamp_ns"]),
        sequence=int(values["sequence"]),
        episode_id=str(episode_id),
        decision=int(values["decision"]),
        valid=bool(values["valid"]),
        progress=number(values["progress"]),
        success_probability=number(values["success_probability"]),
        success=bool(values["success"]),
        failure=bool(values["failure"]),
        error=str(values["error"]),
        model=str(model),
        model_hash=model_hash,
        latency_ms=number(values["latency_ms"]),
    )
