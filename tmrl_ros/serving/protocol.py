"""What travels between a policy server and who asks it: named fields with a version.

The server speaks first: metadata, in which the key `tmrl` holds `Offer`. Requests and answers of
this protocol carry `tmrl_version`. A request without it is openpi's: one flat observation, answered
with `actions` (H, A) alone, as openpi's server does; an error is a text frame in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tmrl_ros.core.types import ByteArray, Float32Array
from tmrl_ros.vla.interface import VlaAnswer, VlaRequest, VlaSpec

VERSION = 1
KEY = "tmrl"
VERSION_KEY = "tmrl_version"
MAX_PROMPT = 2000
MAX_SIDE = 4096
SEED_LIMIT = 2**63

ACTION_NOISE, LOW_RANK, COMMITTED = "action_noise", "low_rank_noise", "committed"
CONTEXT_TIMESTEP, CONTEXT_SEED, BATCH = "context_timestep", "context_seed", "batch"


class ProtocolError(ValueError):
    """A message that does not keep to the protocol, or asks for what is not there; a sentence."""


def _numbers(value: Any) -> Any:
    """Lists are taken for arrays; what is no number is not."""
    if isinstance(value, list | tuple | int | float):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb":
        raise ValueError("it is no array of numbers")
    with np.errstate(over="ignore"):  # what overflows is not finite
        found: Float32Array = value.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError("it has a number that is not finite")
    return found


def _picture(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3:
        kind = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value)
        raise ValueError(f"an image is uint8 (height, width, 3), this is {kind}")
    if value.shape[0] == 3 != value.shape[2]:
        value = np.moveaxis(value, 0, -1)
    if value.shape[2] != 3 or not all(0 < side <= MAX_SIDE for side in value.shape):
        raise ValueError(f"an image is (height, width, 3), this is {value.shape}")
    return value


def _one_or_many(value: Any) -> Any:
    """One seed, or one for every sample."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1:
        value = value.tolist()
    many = value if isinstance(value, list) else [value]
    if not all(type(seed) is int and 0 <= seed < SEED_LIMIT for seed in many):
        raise ValueError("a seed is a whole number from 0 to 2**63 - 1")
    return value


Numbers = Annotated[Any, AfterValidator(_numbers)]
Picture = Annotated[Any, AfterValidator(_picture)]


class Limits(BaseModel):
    """What a server takes; `message_bytes` is of one request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    message_bytes: int = Field(16 * 2**20, ge=1024)
    samples: int = Field(64, ge=1)


class Offer(BaseModel):
    """The first message of a server, below the key `tmrl`; what is not known is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: int
    spec: VlaSpec
    limits: Limits = Limits()
    bundle: dict[str, Any] | None = Field(
        None, description="policy.json, where one of this project's bundles is served"
    )


class Fields(BaseModel):
    """The fields of a request; their shapes are compared with the model's afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    tmrl_version: Literal[1] = 1
    request: int = Field(0, ge=0, description="comes back in the answer")
    images: dict[str, Picture] = Field(default_factory=dict)
    state: Numbers
    prompt: Annotated[str, BeforeValidator(lambda text: text if text is not None else "")] = Field(
        "", max_length=MAX_PROMPT
    )
    noise: Numbers | None = None
    t_context: Numbers | None = None
    context_seed: Annotated[Any, AfterValidator(_one_or_many)] | None = None
    committed: Numbers | None = None
    samples: int = Field(1, ge=1)


@dataclass(frozen=True)
class Asked:
    """A request that fits the model.

    Attributes:
        request: What the model is to answer, but for seeds that differ between samples.
        number: The asker's own number of it.
        plain: Whether openpi's client asks, who knows one chunk and no more.
        seeds: One for every sample, where they differ.
    """

    request: VlaRequest
    number: int
    plain: bool
    seeds: NDArray[np.int64] | None = None

    def parts(self) -> Iterator[tuple[NDArray[np.intp], VlaRequest]]:
        """Requests of one seed each, with the samples that they are for."""
        if self.seeds is None:
            yield np.arange(self.request.samples), self.request
            return
        for seed in dict.fromkeys(self.seeds.tolist()):
            rows = np.flatnonzero(self.seeds == seed)
            noise, t = self.request.noise, self.request.t_context
            yield (
                rows,
                replace(
                    self.request,
                    noise=None if noise is None else noise[rows],
                    t_context=None if t is None else t[rows],
                    context_seed=seed,
                    samples=len(rows),
                ),
            )


def read_request(message: Any, spec: VlaSpec, limits: Limits) -> Asked:
    """Check a decoded message against the protocol and the model.

    Raises:
        ProtocolError: One sentence with the field, its value and what is due.
    """
    if not isinstance(message, dict):
        raise ProtocolError(f"A request is a map of fields, not {type(message).__name__}.")
    plain = VERSION_KEY not in message
    version = message.get(VERSION_KEY)
    if not plain and (type(version) is not int or version != VERSION):
        raise ProtocolError(
            f"This server speaks version {VERSION} of the protocol, the request is of version "
            f"{str(version)[:40]}: use the same release of tmrl_ros on both sides."
        )
    fields = _fields(_plain_fields(message, spec) if plain else message)
    _check_shapes(fields, spec, limits)
    seed = fields.context_seed
    several = isinstance(seed, list)
    return Asked(
        VlaRequest(
            images=fields.images,
            state=fields.state,
            prompt=fields.prompt,
            noise=fields.noise,
            t_context=fields.t_context,
            context_seed=None if several else seed,
            committed=fields.committed,
            samples=fields.samples,
        ),
        fields.request,
        plain,
        np.array(seed, np.int64) if several else None,
    )


def _fields(values: Mapping[Any, Any]) -> Fields:
    try:
        return Fields.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])[:80]
        what = first["msg"].removeprefix("Value error, ")
        raise ProtocolError(f"The field {key!r} of the request is wrong: {what}.") from None


def _plain_fields(message: Mapping[Any, Any], spec: VlaSpec) -> dict[str, Any]:
    """Fields of an openpi observation, whose keys differ from robot to robot."""
    names = [str(key) for key in message]
    state = next((message[k] for k in ("state", "observation/state") if k in message), None)
    if state is None:
        raise ProtocolError(
            f"The observation has no 'observation/state' and no 'state'; it has {names[:12]}."
        )
    nested = message.get("images")
    pictures: dict[str, Any] = dict(nested) if isinstance(nested, dict) else {}
    for camera in spec.cameras:
        keys = [f"observation/images/{camera}", f"observation/{camera}", camera]
        keys += ["observation/image"] if len(spec.cameras) == 1 else []
        found = next((message[key] for key in keys if key in message), None)
        if found is not None:
            pictures[camera] = found
        elif camera not in pictures:
            raise ProtocolError(
                f"The observation has no image of camera {camera!r}, which would be "
                f"{keys[0]!r}; it has {names[:12]}."
            )
    wanted = {camera: pictures[camera] for camera in spec.cameras}
    return {"images": wanted, "state": state, "prompt": message.get("prompt", "")}


def _check_shapes(fields: Fields, spec: VlaSpec, limits: Limits) -> None:
    n, horizon, width = fields.samples, spec.horizon, spec.action_dim
    if n > limits.samples:
        raise ProtocolError(f"{n} samples are asked for; this server makes {limits.samples}.")
    if fields.state.shape != (spec.state_dim,):
        raise ProtocolError(
            f"The state has the shape {fields.state.shape}; {spec.name} takes ({spec.state_dim},)."
        )
    if missing := [camera for camera in spec.cameras if camera not in fields.images]:
        raise ProtocolError(f"There is no image of camera {missing[0]!r}.")
    if strangers := [camera for camera in fields.images if camera not in spec.cameras]:
        raise ProtocolError(
            f"{spec.name} has no camera {strangers[0][:40]!r}, it has {list(spec.cameras)}."
        )
    if n > 1:
        _needs(BATCH, "several samples", spec)
    if fields.noise is not None:
        _needs(ACTION_NOISE, "action noise", spec)
        rows = fields.noise.shape[1] if fields.noise.ndim == 3 else 0
        if not 0 < rows <= horizon or fields.noise.shape != (n, rows, width):
            raise ProtocolError(
                f"The noise has the shape {fields.noise.shape}; due is ({n}, {horizon}, {width}), "
                "or fewer rows."
            )
        if rows < horizon:
            _needs(LOW_RANK, "noise of fewer rows than the horizon", spec)
    if (t := fields.t_context) is not None:
        _needs(CONTEXT_TIMESTEP, "a context timestep", spec)
        if t.shape != (n,) or t.min() < 0 or t.max() > 1:
            raise ProtocolError(f"t_context is {t.shape} from {n} values in [0, 1].")
    if fields.context_seed is not None:
        _needs(CONTEXT_SEED, "a seed of the context noise", spec)
        if isinstance(fields.context_seed, list) and len(fields.context_seed) != n:
            raise ProtocolError(f"There are {len(fields.context_seed)} seeds for {n} samples.")
    if (rows_kept := fields.committed) is not None:
        _needs(COMMITTED, "a committed prefix", spec)
        if rows_kept.ndim != 2 or rows_kept.shape[1] != width or len(rows_kept) > horizon:
            raise ProtocolError(
                f"The committed prefix has the shape {rows_kept.shape}; due is (c, {width}), c up "
                f"to {horizon}."
            )


def _needs(capability: str, what: str, spec: VlaSpec) -> None:
    if capability not in spec.capabilities:
        has = ", ".join(spec.capabilities) or "nothing"
        raise ProtocolError(f"{spec.name} cannot take {what}: it declares {has}.")


def check_answer(answer: VlaAnswer, spec: VlaSpec, samples: int) -> None:
    """Refuse what no robot should see.

    Raises:
        ProtocolError: The model's actions have another shape than they should, or are not finite.
    """
    due = (samples, spec.horizon, spec.action_dim)
    if answer.actions.shape != due:
        raise ProtocolError(
            f"{spec.name} answered actions of shape {answer.actions.shape}, not {due}."
        )
    if not np.isfinite(answer.actions).all():
        raise ProtocolError(f"{spec.name} answered actions that are not finite.")


def metadata(
    spec: VlaSpec, limits: Limits, bundle: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The first message: openpi's clients hand it to their caller, ours reads `tmrl` in it."""
    offer = Offer(
        version=VERSION, spec=spec, limits=limits, bundle=None if bundle is None else dict(bundle)
    )
    return {KEY: offer.model_dump(mode="json"), "model": spec.name}


def read_offer(message: Any) -> Offer | None:
    """What a server offers; None of one that does not speak this protocol, such as openpi's.

    Raises:
        ProtocolError: It speaks another version, or the fields are wrong.
    """
    if not isinstance(message, dict):
        raise ProtocolError("its first message is no map of fields")
    if KEY not in message:
        return None
    try:
        offer = Offer.model_validate(message[KEY])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"what it offers is wrong in {key!r}: {first['msg']}") from None
    if offer.version != VERSION:
        raise ProtocolError(
            f"it speaks version {offer.version} of the protocol, this side version {VERSION}: use "
            "the same release of tmrl_ros on both"
        )
    return offer


def picture_of(value: ByteArray) -> ByteArray:
    """An image as the protocol carries it.

    Raises:
        ProtocolError: It is none.
    """
    try:
        found: ByteArray = _picture(value)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    return found
