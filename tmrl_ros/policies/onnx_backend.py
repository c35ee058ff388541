"""A policy's flow in ONNX Runtime: all Euler steps in one graph, no Python between operations.

`model.onnx` lies beside the weights it was made from and carries their hash. It is used when it
fits them and answers as the network in torch does; otherwise torch goes on, and says why.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tmrl_ros.core.config import InferenceBackend
from tmrl_ros.core.errors import BundleError, OperatorError
from tmrl_ros.policies.bundle import PolicySpec, load_bundle
from tmrl_ros.policies.flow import FlowPolicy
from tmrl_ros.policies.policy import ChunkPolicy, TorchFlow

MODEL_FILE = "model.onnx"
TOLERANCE = 1e-4
"""Largest difference from torch in normalised actions; beyond it the graph is not used."""
INPUTS = ("noise", "context", "t_context", "eps_context")
HASH_KEY = "weights_sha256"
OPSET = 17


class OnnxFlow:
    """Samples a flow with ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the graph.

        Args:
            path: `model.onnx` of a bundle.
            threads: Threads that one sampling may use.

        Raises:
            BundleError: ONNX Runtime is missing, or the file cannot be read.
        """
        try:
            import onnxruntime
        except ImportError:
            raise BundleError("onnxruntime is not installed: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no base class
            first = str(error).strip().splitlines()[0]
            raise BundleError(f"{path} cannot be read ({first}): make it again.") from None
        self.name = f"onnxruntime {onnxruntime.__version__}"
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.weights_sha256 = str(metadata.get(HASH_KEY, ""))

    def __call__(
        self, noise: Tensor, context: Tensor, t_context: Tensor, eps_context: Tensor
    ) -> Tensor:
        """As `FlowPolicy.sample`: (B, H, A), (B, C), (B,), (B, C) -> (B, H, A), normalised."""
        values = (noise, context, t_context, eps_context)
        feed = {name: value.numpy() for name, value in zip(INPUTS, values, strict=True)}
        (chunk,) = self._session.run(None, feed)
        return torch.from_numpy(chunk)


def export(folder: Path, spec: PolicySpec, network: FlowPolicy) -> Path:
    """Write `model.onnx` of a bundle's network; returns its path.

    Raises:
        BundleError: The package onnx is missing, or the graph does not answer as the network does.
    """
    try:
        import onnx
    except ImportError:
        raise BundleError("the package onnx is not installed: pip install onnx") from None
    path = folder / MODEL_FILE
    draft = path.with_suffix(".part")
    names = [*INPUTS, "chunk"]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the sizes that tracing fixes are those of the bundle
        torch.onnx.export(
            _Unrolled(network, spec.network.flow_steps).eval(),
            _some_inputs(spec, 3),
            str(draft),
            input_names=list(INPUTS),
            output_names=["chunk"],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(draft))
    onnx.helper.set_model_props(model, {HASH_KEY: spec.weights_sha256})
    onnx.save(model, str(draft))
    if why := unfit(OnnxFlow(draft), spec, network):
        draft.unlink()
        raise BundleError(f"{folder}: the exported policy is of no use: {why}.")
    draft.replace(path)
    return path


def load_policy(
    folder: Path, backend: InferenceBackend = "auto", threads: int = 1
) -> tuple[ChunkPolicy, str]:
    """A bundle's policy with the fastest way to sample it, and what that is, in words.

    Args:
        folder: The bundle.
        backend: `auto` takes ONNX Runtime if it can, the others what they say.
        threads: Threads for ONNX Runtime.

    Raises:
        BundleError: The bundle is damaged, or ONNX Runtime was asked for and cannot be had.
    """
    spec, network = load_bundle(folder)
    if backend == "torch":
        return ChunkPolicy(spec, network), "torch"
    why = "it has no model.onnx"
    if (folder / MODEL_FILE).is_file():
        try:
            flow = OnnxFlow(folder / MODEL_FILE, threads)
            why = unfit(flow, spec, network)
        except BundleError as error:
            why = str(error)
        if not why:
            return ChunkPolicy(spec, network, flow), flow.name
    if backend == "onnxruntime":
        raise BundleError(
            f"{folder} cannot be run with ONNX Runtime: {why}. Make the graph with "
            f"`tmrl export {folder}`, or set session.inference=auto."
        )
    return ChunkPolicy(spec, network), f"torch ({why})"


def unfit(flow: OnnxFlow, spec: PolicySpec, network: FlowPolicy) -> str:
    """Why a graph does not stand for a network; empty if it does."""
    if flow.weights_sha256 != spec.weights_sha256:
        return f"{MODEL_FILE} was made from other weights"
    inputs = _some_inputs(spec, 5)
    with torch.inference_mode():
        wanted = TorchFlow(network, spec.network.flow_steps)(*inputs)
        try:
            found = flow(*inputs)
        except Exception as error:  # of ONNX Runtime: the inputs have other names or sizes
            return f"{MODEL_FILE} does not take this policy's inputs ({str(error).strip()[:80]})"
    if found.shape != wanted.shape:
        return f"{MODEL_FILE} answers {tuple(found.shape)} instead of {tuple(wanted.shape)}"
    difference = float((found - wanted).abs().max())
    if not difference <= TOLERANCE:
        return f"{MODEL_FILE} differs from the weights by {difference:.1e}"
    return ""


class _Unrolled(nn.Module):
    """Sampling with a fixed number of steps, as one function of tensors."""

    def __init__(self, network: FlowPolicy, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def forward(self, *inputs: Tensor) -> Tensor:
        """As `FlowPolicy.sample`."""
        noise, context, t_context, eps_context = inputs
        return self.network.sample(noise, context, t_context, eps_context, self.steps)


def _some_inputs(spec: PolicySpec, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    horizon, size, context = spec.action.horizon, spec.action.size, spec.context.size
    return (
        torch.randn(batch, horizon, size, generator=generator),
        torch.randn(batch, context, generator=generator),
        torch.linspace(0.0, 1.0, batch),
        torch.randn(batch, context, generator=generator),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of `tmrl export`."""
    parser = argparse.ArgumentParser(
        prog="tmrl export", description="Write model.onnx of policy bundles, for fast decisions."
    )
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of policy bundles")
    for folder in parser.parse_args(argv).bundles:
        try:
            path = export(folder, *load_bundle(folder))
        except OperatorError as error:
            print(error, file=sys.stderr)
            return 2
        print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
