"""The training loop: batches in, steps, log, validation, checkpoints, and a clean stop whenever one is asked for."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from jndcodec.errors import ArgumentError
from jndcodec.heartbeat import heartbeat
from jndcodec.train import variants
from jndcodec.train.checkpoint import save_checkpoint
from jndcodec.train.data import open_dataset
from jndcodec.train.device import has_bf16, keep_memory_of_steps, pick_bf16, pick_device
from jndcodec.train.distributed import Team
from jndcodec.train.logbook import Logbook
from jndcodec.train.native import build_native_subject
from jndcodec.train.objective import Objective
from jndcodec.train.optim import Optimizer, build_optimizer
from jndcodec.train.schedule import Plateau, cosine
from jndcodec.train.settings import ANY_BATCH, Settings, Stage, parse_stages
from jndcodec.train.state import about, restore, snapshot
from jndcodec.train.step import Step
from jndcodec.train.subject import named_parameters, set_threads
from jndcodec.train.validate import Stopped, measure
from jndcodec.train.zoo import build_zoo_subject

LAST, BEST = "last.pt", "best.pt"
KLT_PIXELS = 120 * 256**2  # that the start of jlc-vbr is computed from
HELD_SIDE = 512  # largest side of a validation crop


class Trainer:
    """One run in folder `out`. `settings` must be complete (`recipes.fill_in`) and checked (`settings.check`)."""

    def __init__(
        self,
        settings: Settings,
        out: Path,
        *,
        resume: bool = False,
        save_minutes: float = 10.0,
        log_seconds: float = 30.0,
    ) -> None:
        assert settings.lr is not None
        self.settings, self.out, self.lr = settings, out, settings.lr
        self.save_minutes, self.log_seconds = save_minutes, log_seconds
        self.team = Team()
        self.stages = parse_stages(settings)
        self.any_batch = self.stages[0].batch == ANY_BATCH
        if self.any_batch:
            self.stages = [self.stages[0]._replace(batch=Settings.batch_size)]
        for stage in self.stages:
            if stage.batch % self.team.size:
                raise ArgumentError(f"a batch of {stage.batch} cannot be shared by {self.team.size} processes")
        self.device = pick_device(settings.device, self.team.local_rank)
        self.team.join(self.device)
        keep_memory_of_steps()
        set_threads(settings.threads)
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.allow_tf32 = False  # float32 is only where pixels need all its digits
        torch.backends.cudnn.benchmark = True
        self.data = open_dataset(settings.roots, settings.needs_jnd)
        self.subject = build_native_subject(settings, self._tiles) if settings.native else build_zoo_subject(settings)
        self.subject.module.to(self.device).train()
        if settings.native:
            self.subject.module.to(memory_format=torch.channels_last)
        features = None
        if settings.loss == "fwl":
            from jndcodec.metrics.features import load_features

            balanced = settings.variant == "balanced"
            features = load_features(settings.features, settings.feature_weights or None, normalise=balanced)
        self.objective = Objective(
            self.subject.trade, settings.loss, settings.variant, settings.weight, features
        ).to(self.device)  # fmt: skip
        bf16 = settings.native and pick_bf16(settings.precision, self.device)
        self.step = Step(
            self.subject, self.objective, self._optimizers(), self.team,
            device=self.device, bf16=bf16, clip=settings.clip, graph=settings.native,
        )  # fmt: skip
        self.team.broadcast(list(self.subject.module.state_dict().values()))
        self.plateau = Plateau()
        self.done, self.left_out, self.best, self.scaled = 0, 0, float("inf"), False
        self.elapsed_before, self.started = 0.0, time.monotonic()
        self.signal: int | None = None
        self.held = self.data.test.centres(settings.validate_pictures, HELD_SIDE) if self.team.first else []
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            restore(self, self.out / LAST)
        self.log = Logbook(out, self.team.first)

    def _optimizers(self) -> list[Optimizer]:
        s = self.settings
        fast = has_bf16(self.device) and s.precision != "float32"
        optimizers = [build_optimizer(s.optimizer, named_parameters(self.subject, False), self.lr, fast)]
        if self.subject.auxiliary:
            optimizers.append(build_optimizer("adam", named_parameters(self.subject, True), s.aux_lr, fast))
        return optimizers

    def _tiles(self) -> Tensor:
        patch = self.stages[0].patch
        count = max(8, KLT_PIXELS // patch**2)
        x = self.data.train.crops(count, patch, np.random.default_rng([self.settings.seed, 2**32]))
        return x[0] if isinstance(x, tuple) else x

    @property
    def minutes(self) -> float:
        """Spent on this run, earlier parts included."""
        return (self.elapsed_before + time.monotonic() - self.started) / 60

    def progress(self) -> float:
        """0 to 1, by steps or minutes, whichever is further."""
        s = self.settings
        by_steps = self.done / s.steps if s.steps else 0.0
        return max(by_steps, self.minutes / s.minutes if s.minutes else 0.0)

    def run(self, until: float = float("inf")) -> bool:
        """Train to the end, or until SIGTERM, Ctrl-C or `until` (of time.monotonic); the last checkpoint is on disk
        after all of them. True at the end.
        """
        handlers = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._tune()
            return self._run(until)
        finally:
            self.log.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _run(self, until: float) -> bool:
        saved = validated = logged = time.monotonic()
        logged_at = self.done
        while True:
            (progress,) = self.team.agree(self.progress())
            stop = self.team.any(self.signal is not None or time.monotonic() > until)
            if progress >= 1 or stop:
                break
            self._train_step(progress)
            now = time.monotonic()
            log, save, validate = self.team.agree(
                now - logged > self.log_seconds,
                now - saved > 60 * self.save_minutes,
                now - validated > 60 * self.settings.validate_minutes,
            )
            if log:
                self._log(progress, (self.done - logged_at) / (now - logged))
                logged, logged_at = time.monotonic(), self.done
            if validate:
                self._validate()
                validated = time.monotonic()
            if save:
                self._save()
                saved = time.monotonic()
        if self.done > logged_at:
            self._log(progress, (self.done - logged_at) / (time.monotonic() - logged))
        if not stop:
            stop = not self._validate()
        self._save()
        self.team.wait()
        return not stop

    def _tune(self) -> None:
        """On CUDA, by the clock: find what trains fastest, and write down where its time goes."""
        minutes = self.settings.minutes
        if not self.step.graphs or minutes is None or self.signal is not None:
            return
        stage = self.stages[0]
        batches = variants.BATCHES if self.any_batch else (stage.batch,)
        seconds = min(variants.SECONDS, 6 * minutes)  # a tenth of the run at most
        rates = variants.choose(self.step, lambda n: self._batch_of(stage._replace(batch=n)), batches, seconds)
        if rates and self.any_batch:
            self.stages = [stage._replace(batch=next(iter(rates)).batch)]
        self.log.speeds({f"{'compiled ' * v.compiled}{v.batch}": round(rate) for v, rate in rates.items()})
        variants.profile(self.step, self._batch(self.progress()), self.out / "profile.txt")

    def _train_step(self, progress: float) -> None:
        s = self.settings
        batch = self._batch(progress)
        if self.objective.needs_scale and not self.scaled:
            self._scale_features(batch)
        rise = self.plateau.scale if s.schedule == "plateau" else cosine(progress, s.warmup)
        decay = min(s.ema, (1 + self.done) / (10 + self.done))
        self.step(batch, rise, 1 - decay)
        self.done += 1

    def _batch(self, progress: float) -> dict[str, Tensor]:
        return self._batch_of([stage for stage in self.stages if progress >= stage.start][-1])

    def _batch_of(self, stage: Stage) -> dict[str, Tensor]:
        """This rank's slice of batch number `done`: seed and number say what is in it."""
        rng = np.random.default_rng([self.settings.seed, self.done])
        t = torch.from_numpy(self.subject.draw_t(stage.batch, rng))
        crops = self.data.train.crops(stage.batch, stage.patch, rng, self.device)
        named = dict(zip(("x", "x_jnd"), crops if isinstance(crops, tuple) else (crops,), strict=False))
        named["t"] = t.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else t
        mine = self.team.slice(stage.batch)
        return {key: value[mine] for key, value in named.items()}

    def _scale_features(self, batch: dict[str, Tensor]) -> None:
        with torch.no_grad(), self.step.autocast(), self.team.same_noise():
            x_hat = self.subject.module(batch["x"], batch["t"]).x_hat
        self.objective.measure_scale(batch["x"], batch["x_jnd"], x_hat, batch["t"], self.team)
        self.scaled = True

    def _log(self, progress: float, speed: float) -> None:
        values = self.step.take_sums()
        self.left_out += int(values.pop("left_out"))
        values.pop("kept")
        minutes = self.minutes
        lr = self.lr * float(self.step.scale)
        line = {"step": self.done, "minutes": round(minutes, 3), "steps_per_second": speed, "lr": lr} | values
        left = max(0.0, minutes / progress - minutes) if progress else 0.0
        self.log.train(line | {"skipped": self.left_out}, progress, left)

    def _validate(self) -> bool:
        """Measure the averaged weights and keep the best; False if a signal cut it short."""
        score, whole = float("inf"), True
        if self.held:
            try:
                with heartbeat(lambda: f"step {self.done}: validation"):
                    score, points = measure(
                        self.step, self.held, self.subject.knobs, lambda: self.signal is not None, self.out / "samples"
                    )
            except Stopped:
                whole = False
            else:
                self.log.validation(
                    {"step": self.done, "minutes": round(self.minutes, 3), "score": score, "points": points}
                )
        score, whole_there = self.team.agree(score, whole)
        whole = bool(whole_there)
        if whole:
            self.plateau.update(score)
        if whole and (score < self.best or not self.held):
            self.best = score
            if self.team.first:
                save_checkpoint(self.out / BEST, about(self) | {"ema": self.step.average.state_dict()})
        return whole

    def _save(self) -> None:
        if self.team.first:
            save_checkpoint(self.out / LAST, snapshot(self))

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
