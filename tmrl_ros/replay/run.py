"""`tmrl replay`: recorded sensors through perception and policy again, beside what was recorded.

Exit code 0: the same came out; 1: something differs, or another policy was asked.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError, OperatorError
from tmrl_ros.core.load import change_config, read_config
from tmrl_ros.data.bag_reader import bag_folders, is_label
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.learning.choosing.reach import Boxes, Reach
from tmrl_ros.policies.bundle import check_bundle
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.replay.decisions import decide_again
from tmrl_ros.replay.sensors import Seen, look_again, read_tape

MAY_CHANGE = ("task.bundle",)
OBJECTS_M = 1e-5
CHUNKS_M = 1e-4
FEATURES = 1e-3


@dataclass
class Tally:
    """What was compared over all episodes; lengths in m."""

    episodes: int = 0
    observations: int = 0
    not_made: list[str] = field(default_factory=list)
    objects_m: list[float] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    points_m: list[float] = field(default_factory=list)
    features: list[float] = field(default_factory=list)
    chunks_m: list[float] = field(default_factory=list)
    chunks_unknown: int = 0
    other_m: list[float] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def see(self, episode: str, seen: Seen) -> None:
        """Count an observation."""
        self.observations += 1
        recorded, again = seen.recorded, seen.again
        if again is None:
            self.not_made.append(f"{episode}, decision {recorded.decision}: {seen.why}")
            return
        found = np.array([item.position for item in again.sightings], np.float32)
        self.objects_m.append(float(np.abs(found - recorded.object_positions).max(initial=0.0)))
        for image, before in zip(again.images, recorded.images.values(), strict=True):
            self.pictures.append(int(np.abs(image.astype(int) - before.astype(int)).max()))
        points = recorded.points
        same = points is not None and len(points) == len(again.cloud)
        apart = float(np.abs(again.cloud.points - points).max(initial=0.0)) if same else np.inf
        self.points_m.append(float(apart))

    def figures(self, *, other: bool) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = {
            "episodes": self.episodes,
            "damaged": self.damaged,
            "observations": self.observations,
            "observations_not_made": self.not_made,
            "largest_difference": {
                "objects_m": max(self.objects_m, default=0.0),
                "picture_values": max(self.pictures, default=0),
                "points_m": max(self.points_m, default=0.0),
                "features": max(self.features, default=0.0),
            },
        }
        if other:
            low, middle, high = np.percentile(self.other_m or [0.0], [10, 50, 90]).tolist()
            found["other_policy_m"] = {"p10": low, "p50": middle, "p90": high}
        else:
            found["largest_difference"]["chunks_m"] = max(self.chunks_m, default=0.0)
            found["chunks_compared"] = len(self.chunks_m)
            found["chunks_unknown"] = self.chunks_unknown
        largest = found["largest_difference"]
        found["same"] = not other and not (
            self.not_made
            or largest["objects_m"] > OBJECTS_M
            or largest["points_m"] > OBJECTS_M
            or largest["picture_values"] > 0
            or largest["features"] > FEATURES
            or largest["chunks_m"] > CHUNKS_M
        )
        return found


def replay(session: Path, config: Config, *, most: int | None = None) -> dict[str, Any]:
    """Play a session's bags and compare.

    Args:
        session: Its folder.
        config: Its configuration, with another `task.bundle` if another policy is to be asked.
        most: Episodes to play, from the newest back; None for all.

    Raises:
        OperatorError: There is nothing to play, or the policy cannot be loaded.
    """
    bags = [bag for bag in bag_folders(session) if not is_label(bag.name)]
    bags = bags[-most:] if most else bags
    if not bags:
        raise ConfigurationError(f"{session} has no recorded episode to play.")
    spec = check_bundle(config.task.bundle, config)
    policy, _ = load_policy(config.task.bundle, config.session.inference)
    safety, tally, hashes = config.safety, Tally(), set()
    workspace = np.array(safety.workspace_min_m), np.array(safety.workspace_max_m)
    row_m = safety.max_speed_mps / config.robot.control_rate_hz
    reach = Reach(workspace, row_m, Boxes.of(safety))
    for bag in bags:
        try:
            tape = read_tape(bag, config)
            seen = list(look_again(tape, config))
        except BagError as error:
            tally.damaged.append(str(error))
            continue
        tally.episodes += 1
        for item in seen:
            tally.see(bag.name, item)
        hashes |= {chunk.bundle_hash for chunk in tape.chunks}
        observations = [item.recorded for item in seen]
        for again in decide_again(policy, tape.chunks, observations, reach):
            tally.other_m.append(again.other_m)
            if hashes != {spec.digest()}:
                continue
            tally.features.append(again.features)
            if again.chunk_m is None:
                tally.chunks_unknown += 1
            else:
                tally.chunks_m.append(again.chunk_m)
    return tally.figures(other=hashes != {spec.digest()})


def in_words(found: dict[str, Any]) -> str:
    """The figures for a person."""
    largest = found["largest_difference"]
    lines = [
        f"{found['episodes']} episodes, {found['observations']} observations.",
        f"Perception: objects within {1000 * largest['objects_m']:.3f} mm, points within "
        f"{1000 * largest['points_m']:.3f} mm, pictures within {largest['picture_values']} of 255.",
    ]
    lines += [f"Not made again: {why}" for why in found["observations_not_made"][:5]]
    lines += [f"Left out: {why}" for why in found["damaged"]]
    if "other_policy_m" in found:
        away = found["other_policy_m"]
        lines.append(
            "Another policy than the one that acted: at the end of a chunk it would be "
            f"{100 * away['p50']:.1f} cm away (10 to 90 %: {100 * away['p10']:.1f} to "
            f"{100 * away['p90']:.1f} cm)."
        )
    else:
        lines.append(
            f"Policy: {found['chunks_compared']} chunks made again, within "
            f"{1000 * largest['chunks_m']:.3f} mm; {found['chunks_unknown']} do not tell what they "
            "were made from."
        )
        lines.append("The same came out." if found["same"] else "Something differs.")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `tmrl replay`."""
    parser = argparse.ArgumentParser(prog="tmrl replay", description=__doc__)
    parser.add_argument("session", type=Path, help="folder of a session")
    parser.add_argument("overrides", nargs="*", metavar="task.bundle=...", help="another policy")
    parser.add_argument("--episodes", type=int, help="the newest so many; all by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_intermixed_args(argv)
    try:
        config = read_config(args.session / "config.yaml")
        config = change_config(config, args.overrides, MAY_CHANGE)
        found = replay(args.session, config, most=args.episodes)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1) if args.json else in_words(found))
    return 0 if found["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
