"""Does a policy offer what a method needs? Compared before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tmrl_ros.core.config import MethodConfig
from tmrl_ros.core.errors import BundleError
from tmrl_ros.core.methods import DEMONSTRATORS, METHODS, Capability
from tmrl_ros.data.plans import PLAN_ROWS

if TYPE_CHECKING:
    from tmrl_ros.policies.bundle import PolicySpec


def offered(spec: PolicySpec) -> frozenset[Capability]:
    """What a policy can be steered by.

    Bundles of format 1 do not tell the context's noise from its timestep, and all of them make
    chunks of positions. Chunks of fewer rows than a plan has points are none.
    """
    found = {item for item in Capability if item in spec.capabilities}
    if spec.format == 1:
        found.add(Capability.PLANS)
        if Capability.CONTEXT_TIMESTEP in found:
            found.add(Capability.CONTEXT_NOISE)
    if Capability.CONTEXT_NOISE in found:
        found.add(Capability.CONTEXT_SEED)  # a seed stands for the vector that is drawn with it
    if spec.action.horizon < PLAN_ROWS:
        found.discard(Capability.PLANS)
    return frozenset(found)


def check_overlap(
    spec: PolicySpec, rows: int, where: Path | str, *, committed: bool = False
) -> None:
    """Refuse an overlap that the policy cannot make chunks for.

    Args:
        spec: The policy's description.
        rows: `session.overlap_rows`.
        where: Where the description comes from.
        committed: It can begin with given rows, also if it does not say so.

    Raises:
        BundleError: One sentence: the setting, what the policy has, and what to set.
    """
    if rows == 0:
        return
    if not committed and Capability.COMMITTED not in offered(spec):
        raise BundleError(
            f"{where}: session.overlap_rows={rows} needs a policy that makes chunks which begin "
            "with given rows, and the bundle does not declare 'committed': set "
            "session.overlap_rows=0 or use another bundle."
        )
    if 2 * rows > spec.action.horizon:
        raise BundleError(
            f"{where}: session.overlap_rows={rows} is more than half of the policy's "
            f"{spec.action.horizon} rows: set session.overlap_rows to at most "
            f"{spec.action.horizon // 2}, or pre-train with a longer task.pretraining.horizon."
        )


def check_capabilities(spec: PolicySpec, method: MethodConfig, where: Path | str) -> None:
    """Refuse a method that the policy cannot be fine-tuned with.

    Args:
        spec: The policy's description.
        method: The chosen method.
        where: File or server that the description comes from.

    Raises:
        BundleError: One sentence: method, bundle, what is missing and which methods would do.
    """
    has, needs = offered(spec), METHODS[method.name].needs
    kind = "bundle" if isinstance(where, Path) else "server"
    if missing := [item for item in Capability if item in needs - has]:
        fit = [name for name, traits in METHODS.items() if traits.needs <= has]
        raise BundleError(
            f"{where}: method {method.name} needs a policy that takes "
            f"{' and '.join(missing)}; the {kind} declares "
            f"{', '.join(sorted(spec.capabilities)) or 'nothing'}. Use method="
            f"{', '.join(name for name in fit if name not in DEMONSTRATORS)}, or another {kind}."
        )
    if method.samples > spec.max_samples:
        key = "rerank_samples" if method.rerank_samples else "candidates"
        raise BundleError(
            f"{where}: method {method.name} chooses among method.{key}={method.samples} chunks, "
            f"the {kind} makes at most {spec.max_samples} at a decision: set "
            f"method.{key}={spec.max_samples} or use another {kind}."
        )
