"""`tmrl retrieve`: parts of recorded play that move as one demonstration does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tmrl_ros.cli.session_folder import shown
from tmrl_ros.core.errors import ConfigurationError

TOP, PER_BAG = 20, 3
MORE_FOR_PICTURES = 3
WIDEST_M = 0.08


def retrieve(argv: Sequence[str]) -> int:
    """Search, print a table, write the index and a preview.

    Raises:
        OperatorError: There are no bags, or the demonstration shows no motion.
    """
    args = _parser().parse_args(argv)
    if args.top < 1 or args.per_bag < 1:
        raise ConfigurationError(f"--top {args.top}, --per-bag {args.per_bag}: take 1 or more.")
    from tmrl_ros.data.bag_stream import BagError
    from tmrl_ros.data.collected import one_bag, play_bags
    from tmrl_ros.data.retrieval import query_of, rank
    from tmrl_ros.data.segments import SegmentIndex, write_index
    from tmrl_ros.data.tool_path import read_path

    began_s = time.monotonic()
    bag, prompt = one_bag(args.demonstration)
    demonstration = read_path(bag)
    widest_m = max(WIDEST_M, float(demonstration.widths_m.max()))
    try:
        query = query_of(demonstration, widest_m)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from None
    paths = {}
    for played in play_bags(args.folders):
        if played.resolve() == bag.resolve():
            continue
        try:
            paths[played] = read_path(played)
        except BagError as error:
            print(f"Left out: {error}", file=sys.stderr)
    most = args.top * (MORE_FOR_PICTURES if args.appearance else 1)
    found = rank(query, list(paths.values()), widest_m, per_bag=args.per_bag, most=most)
    from tmrl_ros.analysis.retrieval_preview import by_appearance, draw_preview  # matplotlib

    if args.appearance:
        found = by_appearance(found, demonstration, args.appearance)[: args.top]
    if args.max_distance is not None:
        found = [item for item in found if item.distance <= args.max_distance]
    took_s = time.monotonic() - began_s
    for place, item in enumerate(found, 1):
        begin_s = (item.begin_ns - int(paths[item.bag].stamps_ns[0])) / 1e9
        print(
            f"{place:3d}  {item.distance:6.3f}  {item.bag.name}  from {begin_s:5.1f} s for "
            f"{item.seconds:4.1f} s"
        )
    write_index(args.out, SegmentIndex(bag, args.prompt or prompt, found))
    preview = draw_preview(args.out.with_suffix(".png"), demonstration, paths, found)
    print(f"{len(found)} segments of {len(paths)} bags in {took_s:.1f} s.")
    print(f"Look at them: {shown(preview.absolute())}")
    print(f"Learn from them too: tmrl pretrain {args.demonstration} {args.out} task=...")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tmrl retrieve", description=__doc__)
    parser.add_argument("demonstration", type=Path, help="bag of one demonstration")
    parser.add_argument("folders", type=Path, nargs="+", help="sessions, or folders of bags")
    parser.add_argument(
        "--out", type=Path, default=Path("retrieved.json"), help="index; the preview lies beside it"
    )
    parser.add_argument("--top", type=int, default=TOP, help="segments at most")
    parser.add_argument("--per-bag", type=int, default=PER_BAG, help="segments of a bag at most")
    parser.add_argument("--max-distance", type=float, help="leave out what is less alike")
    parser.add_argument(
        "--appearance",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="compare pictures at both ends too, with this weight (0.3 is a beginning)",
    )
    parser.add_argument("--prompt", default="", help="what they show; the demonstration's own")
    return parser
