"""Training the prior: EDM's denoising loss on patches with global context (Karras et al. 2022, Yang et al. 2025).

Runs on one process or, started by torchrun, on several: each then computes a share of every batch, so that the
loss curve is that of one process with the same global batch.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from core.prior.data import Batch, DataConfig, Draft, PatchSource, Scan
from core.prior.denoiser import Precond
from core.prior.files import load_prior, save_prior
from core.prior.network import PRESETS, NetworkConfig, inherit, renormalize
from core.prior.rof import rof
from core.prior.validation import ValidationSet

STATE = "state.safetensors"


@dataclass(frozen=True)
class TrainConfig:
    """A training run. Everything that changes its result is in here."""

    network: NetworkConfig = PRESETS["small"]
    data: DataConfig = field(default_factory=DataConfig)
    num_steps: int = 20_000
    volumes: int = 4  # noised volumes per step, each with its own noise level
    crops: int = 2  # patches of each
    rate: float = 2e-2  # peak learning rate; weights have unit scale, so it is a relative one
    rate_floor: float = 0.02  # the cosine ends at this share of it
    warmup: int = 50  # steps
    weight_decay: float = 0.0
    clip: float = 1.0  # limit of the gradient's norm
    ema: float = 0.998  # decay of the averaged weights, reached gradually
    seed: int = 0
    bf16: bool = False  # autocast
    compile: bool = False  # fuse the network's operations: takes a minute, pays in long runs on GPUs

    @classmethod
    def from_json(cls, stored: dict) -> TrainConfig:
        ranges = {name: tuple(stored["data"][name]) for name in ("voxel_xy", "voxel_z")}
        data = DataConfig(**{**stored["data"], **ranges})
        return cls(**{**stored, "network": NetworkConfig(**stored["network"]), "data": data})


@dataclass(frozen=True)
class TrainStep:
    """Told after each logged step: training loss since the last one, and, if measured, validation RMSE by sigma and
    what is left of the errors of held-out drafts."""

    step: int
    total: int
    loss: float
    rate: float
    patches_per_second: float
    validation: dict[float, float] | None = None
    drafts: float | None = None


def edm_loss(model: Precond, batch: Batch, teacher: Precond | None = None) -> Tensor:
    """EDM's weighted denoising error per patch (b,): mean |D - clean|^2 / c_out^2.

    Weighed by how far the patches are off, not by how far the prior is told: a guess must not decide what counts.
    With a teacher, what that makes of the patches stands for the clean ones: its output lacks what nobody could have
    foretold, which is most of the error and otherwise noise in every gradient. (Hinton et al. 2015)
    """
    D_x = model(batch.inputs, batch.sigma, batch.factor, batch.voxel_size)
    wanted = batch.clean
    if teacher is not None:
        with torch.no_grad():
            wanted = teacher(batch.inputs, batch.sigma, batch.factor, batch.voxel_size)
    sd, level = model.config.sigma_data, batch.level.to(D_x)
    weight = (level**2 + sd**2) / (level * sd) ** 2
    return (D_x - wanted).square().mean((1, 2, 3, 4)) * weight


def rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a half cosine down to `rate_floor`."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    phase = min(1.0, step / config.num_steps)
    return warm * (config.rate_floor + (1 - config.rate_floor) * 0.5 * (1 + math.cos(math.pi * phase)))


class Trainer:
    """A training run in a folder: weights, averaged weights, optimiser state and log; resumes where it stopped.

    Parameters
    ----------
    folder : Path
        `state.safetensors` (all that a resumed run needs), `prior.safetensors` (averaged weights), `log.jsonl`,
        `config.json`.
    config : TrainConfig
    scans, validation, drafts : training volumes; held-out patches or None; see `core.prior.data`
    device : torch.device
    start : Path or None
        A prior whose weights a new run starts from. It may lack the guide or surroundings: those begin with no say.
    teacher : Path or None
        A prior that is learned from instead of the clean patches: see `edm_loss`. It must be shown the same inputs.
    more_drafts : f() -> list of Draft
        Asked for further drafts whenever something is logged. With it a resumed run is no longer exactly what an
        uninterrupted one would have been.
    """

    def __init__(
        self,
        folder: str | Path,
        config: TrainConfig,
        scans: Sequence[Scan],
        validation: ValidationSet | None = None,
        *,
        drafts: Sequence[Draft] = (),
        device: torch.device | str = "cpu",
        start: str | Path | None = None,
        teacher: str | Path | None = None,
        more_drafts: Callable[[], Sequence[Draft]] = tuple,
    ) -> None:
        self.more_drafts = more_drafts
        self.folder, self.config, self.validation = Path(folder), config, validation
        self.device = torch.device(device)
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if config.volumes % self.world:
            raise ValueError(
                f"{config.volumes} volumes a step cannot be shared by {self.world} processes evenly."
            )
        torch.manual_seed(config.seed)  # initial weights; everything later draws from its own generators
        self.model = Precond(config.network)
        if start is not None:
            found = load_prior(start, "cpu").model.network
            try:
                inherit(self.model.network, found)
            except ValueError as error:
                raise ValueError(f"{start}: {error}") from None
        self.teacher = None
        if teacher is not None:
            self.teacher = load_prior(teacher, self.device).model
            told, seen = self.teacher.config, config.network
            if (told.tile, told.channel) != (seen.tile, seen.channel):
                raise ValueError(
                    f"the prior {teacher} is shown other inputs than this network, so that it cannot teach it; "
                    "choose a network with its tiles, surroundings and guide."
                )
        self.model.to(self.device)
        renormalize(self.model)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.ahead = 0 if start is None else round(10 / (1 - config.ema))  # weights that are no random start
        if config.compile:
            self.model.network.compile()
            if self.device.type == "cuda":  # a CPU has a kernel for it
                self.model.smoothing = torch.compile(rof)
        torch.backends.cudnn.benchmark = True  # all batches have the same shape
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        self.source = PatchSource(
            scans,
            config.data,
            drafts=drafts,
            network=config.network,
            volumes=config.volumes,
            crops=config.crops,
            seed=config.seed,
            device=self.device,
        )
        self.step = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists():
            self._resume()

    def run(
        self,
        *,
        minutes: float | None = None,
        log_every: int = 50,
        validate_every: int = 500,
        callback: Callable[[TrainStep], None] | None = None,
    ) -> None:
        """Train until `num_steps`, or for so many minutes; then save. StopIteration from the callback saves too."""
        started = since = time.perf_counter()
        losses: list[Tensor] = []
        try:
            while self.step < self.config.num_steps:
                losses.append(self._train_step())
                self.step += 1
                over = minutes is not None and time.perf_counter() - started > 60 * minutes
                last = over or self.step == self.config.num_steps
                validate = last or self.step % validate_every == 0
                if validate or self.step % log_every == 0:
                    rate = self.config.rate * rate_factor(self.step, self.config)
                    loss = float(torch.stack(losses).mean())  # waits for the device
                    patches = len(losses) * self.config.volumes * self.config.crops
                    speed = patches / (time.perf_counter() - since)
                    table, drafts = self.validate() if validate and self.rank == 0 else (None, None)
                    for draft in self.more_drafts():
                        self.source.add(draft)
                    done = TrainStep(self.step, self.config.num_steps, loss, rate, speed, table, drafts)
                    self._log(done)
                    if validate:
                        self.save()
                    if callback is not None and self.rank == 0:
                        callback(done)
                    losses, since = [], time.perf_counter()
                if last:
                    return
        except StopIteration:
            self.save()

    def validate(self) -> tuple[dict[float, float] | None, float | None]:
        """RMSE by sigma of the averaged weights, and the share of held-out drafts' errors that they leave."""
        if self.validation is None:
            return None, None
        return self.validation.rmse(self.average), self.validation.left_of_drafts(self.average)

    def _train_step(self) -> Tensor:
        """The loss (), which nobody has waited for yet."""
        batch = self.source.batch(self.step)
        n = len(batch.sigma) // self.world
        share = slice(self.rank * n, (self.rank + 1) * n)
        batch = Batch(*(getattr(batch, f)[share].to(self.device) for f in Batch.__dataclass_fields__))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * rate_factor(self.step, self.config)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            loss = edm_loss(self.model, batch, self.teacher).mean()
        loss.backward()
        if self.world > 1:
            for weight in self.model.parameters():
                if weight.grad is not None:
                    dist.all_reduce(weight.grad)
                    weight.grad /= self.world
            dist.all_reduce(loss.detach())
            loss = loss / self.world
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        renormalize(self.model)
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential average whose memory grows with the run: a tenth of the steps so far, `ema` at most."""
        n = self.step + self.ahead
        share = 1 - min(self.config.ema, (1 + n) / (10 + n))
        for averaged, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
            averaged.lerp_(current, share)

    # ---- files: each is written beside and renamed, so that a stop at any moment leaves a whole one

    def save(self) -> None:
        if self.rank:
            return
        beside = self.folder / (STATE + ".part")
        safetensors.torch.save_file(self._state(), beside)
        beside.replace(self.folder / STATE)
        (self.folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1))
        info = {"steps": self.step, "patches": self.step * self.config.volumes * self.config.crops}
        save_prior(self.folder / "prior.safetensors", self.average, info=info)

    def _state(self) -> dict[str, Tensor]:
        """Weights, averaged weights, and per weight what the optimiser keeps of it, by name."""
        state = {f"average.{name}": t for name, t in self.average.state_dict().items()}
        for name, weight in self.model.named_parameters():
            state[f"model.{name}"] = weight.detach()
            for key, value in self.optimizer.state.get(weight, {}).items():
                state[f"optimizer.{key}.{name}"] = value
        state["step"] = torch.tensor(self.step)
        return {name: t.detach().contiguous().cpu().clone() for name, t in state.items()}

    def _resume(self) -> None:
        try:
            state = safetensors.torch.load_file(self.folder / STATE, device=str(self.device))
            average = {n: state[f"average.{n}"] for n in self.average.state_dict()}
            self.average.load_state_dict(average)
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    weight.copy_(state[f"model.{name}"])
                    kept = {k: state[f"optimizer.{k}.{name}"] for k in ("step", "exp_avg", "exp_avg_sq")}
                    kept["step"] = kept["step"].cpu()  # where the optimiser counts
                    self.optimizer.state[weight] = kept
        except (RuntimeError, KeyError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"{self.folder} holds a run of another network, or its {STATE} is damaged; choose an empty folder."
            ) from error
        self.step = int(state["step"])

    def _log(self, done: TrainStep) -> None:
        if self.rank == 0:
            with (self.folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(asdict(done)) + "\n")
