"""Everything that defines a training run, as plain values: what the command line gives and a checkpoint keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from jndcodec.errors import ArgumentError
from jndcodec.metrics.trade import RateTrade, fixed_rate, parse_metrics, variable_rate, zoo_range

if TYPE_CHECKING:
    from jndcodec.model.vbr import VbrConfig

LOSSES = ("rd", "pwl", "iwl", "fwl")
VARIANTS = ("balanced", "paper")
FEATURES = ("vgg16", "alexnet", "efficientnet-lite0")
NATIVE = "jlc-vbr"
ANY_BATCH = 0  # as batch size: the trainer's choice
SSIMULACRA2_PATCH = 256  # pixels: its sixth scale drops out of smaller pictures, and it measures something else


class Stage(NamedTuple):
    """From `start` (share of the run, 0 to 1) on, batches hold `batch` patches of `patch` x `patch` pixels."""

    start: float
    batch: int
    patch: int


@dataclass(frozen=True)
class Settings:
    """One training run. `steps` or `minutes` says how long; None stands for what recipes.py fills in."""

    roots: tuple[str, ...] = ()
    model: str = NATIVE
    config: str = ""  # of jlc-vbr, "s8=3,s16=2"
    quality: int = 3  # of a zoo model
    pretrained: bool = False
    lmbda: str = ""  # "LOW:HIGH" for jlc-vbr, one number for a zoo model; empty: the metric's own (metrics/trade.py)
    loss: str = "rd"
    variant: str = "balanced"
    metric: str = "mse"  # or a mix, "ssimulacra2:1,mse:0.1"
    weight: float | None = None
    features: str = ""  # recipes.py: the paper's vgg16, or alexnet, which needs no download
    feature_weights: str = ""
    init: str = ""
    decoder_only: bool = False
    hold_detail: bool = False
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 8
    patch_size: int = 256
    stages: str = ""
    optimizer: str = ""
    schedule: str = ""
    lr: float | None = None
    aux_lr: float = 1e-3
    clip: float = 1.0
    warmup: float = 0.02  # share of the run
    ema: float = 0.998
    seed: int = 1
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    validate_minutes: float = 10.0
    validate_pictures: int = 12

    @property
    def native(self) -> bool:
        return self.model == NATIVE

    @property
    def all_rates(self) -> bool:
        """Whether the model learns a range of rates, not one."""
        return self.native or self.model.endswith("-vbr")

    @property
    def needs_jnd(self) -> bool:
        return self.loss != "rd"

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for checkpoints and training records."""
        values = asdict(self)
        values["roots"] = list(self.roots)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        known = {field.name for field in fields(cls)}
        return replace(cls(**{k: v for k, v in values.items() if k in known}), roots=tuple(values["roots"]))


def parse_config(text: str) -> dict[str, int]:
    """ "s8=3,s16=2" -> {"s8": 3, "s16": 2}."""
    values: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        if not value.isdigit():
            raise ArgumentError(f"--config takes NAME=NUMBER pairs such as s8=3,s16=2, not {part!r}")
        values[name.strip()] = int(value)
    return values


def native_config(settings: Settings) -> VbrConfig:
    """Widths and depths that --config asks for; ArgumentError where no jlc-vbr has them."""
    from jndcodec.model.grid import BLOCK
    from jndcodec.model.vbr import VbrConfig

    try:
        config = VbrConfig(**parse_config(settings.config))
    except TypeError:
        names = ", ".join(VbrConfig.__dataclass_fields__)
        raise ArgumentError(f"--config {settings.config}: {NATIVE} knows {names}") from None
    if config.m % 4 or config.linear % 4 or config.linear >= config.m or not 0 < config.detail <= BLOCK:
        raise ArgumentError(
            f"--config m and linear must each be a multiple of 4, linear below m, and detail between 1 and {BLOCK}"
        )
    return config


def trade(settings: Settings) -> RateTrade:
    """What distortion costs in this run, by --metric and --lambda; ArgumentError where they make no sense."""
    shares = parse_metrics(settings.metric)
    if settings.native:
        return variable_rate(shares, settings.lmbda)
    if settings.all_rates:
        return zoo_range(shares, settings.lmbda)
    return fixed_rate(shares, settings.quality, settings.lmbda)


def parse_stages(settings: Settings) -> list[Stage]:
    """ "16x128,8x256@0.6" -> 16 patches of 128 from the start, 8 of 256 from 60 % on; without, one stage."""
    if not settings.stages:
        return [Stage(0.0, settings.batch_size, settings.patch_size)]
    stages = []
    for part in settings.stages.split(","):
        shape, _, start = part.strip().partition("@")
        batch, _, patch = shape.partition("x")
        if not (batch.isdigit() and patch.isdigit()):
            raise ArgumentError(f"--stages takes BATCHxPATCH[@SHARE] such as 16x128,8x256@0.6, not {part!r}")
        stages.append(Stage(_number(start or "0", "the start of a stage"), int(batch), int(patch)))
    if stages[0].start != 0 or any(b.start <= a.start for a, b in zip(stages, stages[1:], strict=False)):
        raise ArgumentError("--stages must begin at 0 and go up, such as 16x128,8x256@0.6")
    return stages


def check(settings: Settings) -> None:
    """Refuse what cannot work before anything is loaded."""
    metrics = trade(settings).shares
    if settings.native:
        native_config(settings)
    for stage in parse_stages(settings):
        if stage.patch % 64 or stage.patch < 64 or stage.batch < (1 if settings.stages else ANY_BATCH):
            raise ArgumentError(f"patches of {stage.patch} pixels cannot be coded; take a multiple of 64")
        if "ssimulacra2" in metrics and stage.patch < SSIMULACRA2_PATCH:
            raise ArgumentError(
                f"SSIMULACRA2 is another measure on patches of {stage.patch} pixels: train on {SSIMULACRA2_PATCH} or "
                "more, or by another --metric"
            )
    if not settings.roots:
        raise ArgumentError("no training data given: name a folder made by `jndcodec prepare`, or one of photos")
    if settings.steps is None and settings.minutes is None:
        raise ArgumentError("say how long to train: --steps N or --minutes M")
    if (settings.steps is not None and settings.steps < 1) or (settings.minutes is not None and settings.minutes <= 0):
        raise ArgumentError("--steps and --minutes must be positive")
    for option, asked in (("decoder-only", settings.decoder_only), ("hold-detail", settings.hold_detail)):
        if asked and not (settings.native and settings.init):
            raise ArgumentError(f"--{option} goes on from {NATIVE} weights: name them with --init FILE")
    if settings.native and settings.pretrained:
        raise ArgumentError(f"--pretrained is for zoo models; start {NATIVE} from weights with --init FILE")


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"{what} must be a number, not {text!r}") from None
