"""The trainer: EDM's denoising loss on patches (Karras et al. 2022), and the loss of whole reconstructions.

A share of the steps takes a batch of degraded patches (see `source`), the others a pass of a reconstruction
of a simulated scan (see `chains`). The trainer runs in one process or, started by torchrun, in several. They
share every batch, so the loss curve of the patches is that of one process; each reconstructs its own scans.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import load_prior, save_prior
from tomopatch.prior.network import inherit, renormalize
from tomopatch.prior.precond import Precond
from tomopatch.prior.rof import rof
from tomopatch.training.chains import Chains
from tomopatch.training.pairs import Pair, TrainingVolume
from tomopatch.training.source import Batch, PatchSource
from tomopatch.training.train_config import TrainConfig, learning_rate_factor
from tomopatch.training.validation import Scores, ValidationSet

STATE = "state.safetensors"
PAIRS_EVERY = 100  # steps after which further pairs are taken up
PREFETCHED = 4  # batches
CHAIN_TILES = (4, 16)  # tiles per call of the network in a chain, on a CPU and on a GPU


@dataclass(frozen=True)
class TrainStep:
    """A logged step: mean losses of patches and of chains since the last one, and scores if measured."""

    step: int
    total: int
    loss: float | None
    chain_loss: float | None
    learning_rate: float
    patches_per_second: float
    scores: Scores | None = None


def edm_loss(model: Precond, batch: Batch) -> Tensor:
    """EDM's weighted denoising error per patch (b,): mean |D - clean|^2 / c_out^2.

    Weighted by the true noise level, not the one passed to the network.
    """
    D_x = model(batch.inputs, batch.numbers)
    return (D_x - batch.clean).square().mean((1, 2, 3, 4)) * batch.weight.to(D_x)


class Trainer:
    """A training run in a folder: weights, averaged weights, optimiser state and log; can be resumed.

    Parameters
    ----------
    folder : Path
        `state.safetensors` (all that a resumed run needs), `prior.safetensors` (averaged weights),
        `log.jsonl`, `config.json`.
    config : TrainConfig
    volumes : sequence of TrainingVolume
    validation : ValidationSet or None
        None = no validation.
    pairs : sequence of Pair
        Simulated training pairs.
    device : torch.device
    start : Path or None
        A prior whose weights a new run starts from. It may lack inputs: see `inherit`.
    more_pairs : f() -> list of Pair
        Called for further pairs every PAIRS_EVERY steps. Several processes reconstruct scans only if there
        are pairs from the beginning, so that they agree on the kind of each step.

    Without pairs, a resumed run is exactly the same as an uninterrupted one. Reconstructions in progress are
    not stored; a resumed run begins others.
    """

    def __init__(
        self,
        folder: str | Path,
        config: TrainConfig,
        volumes: Sequence[TrainingVolume],
        validation: ValidationSet | None = None,
        *,
        pairs: Sequence[Pair] = (),
        device: torch.device | str = "cpu",
        start: str | Path | None = None,
        more_pairs: Callable[[], Sequence[Pair]] = tuple,
    ) -> None:
        self.more_pairs = more_pairs
        self.folder, self.config, self.validation = Path(folder), config, validation
        self.device = torch.device(device)
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if config.volumes % self.world:
            raise ValueError(
                f"{config.volumes} volumes a step cannot be shared by {self.world} processes evenly;"
                f" give a multiple of {self.world} as --volumes."
            )
        torch.manual_seed(config.seed)  # initial weights; everything later draws from its own generators
        self.model = Precond(config.network)
        if start is not None:
            found = load_prior(start, "cpu").model.network
            try:
                inherit(self.model.network, found)
            except ValueError as error:
                raise ValueError(f"{start}: {error}") from None
        self.model.to(self.device)
        renormalize(self.model)
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        if config.compile:
            self.model.network.compile(dynamic=False)  # batches of patches and of tiles have one size each
            if self.device.type == "cuda":  # the CPU has its own kernel
                self.model.smoothing = torch.compile(rof)
        torch.backends.cudnn.benchmark = True  # few shapes occur
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98))
        self.source = PatchSource(
            volumes,
            config.data,
            network=config.network,
            num_volumes=config.volumes,
            crops=config.crops,
            seed=config.seed,
            device=self.device,
        )
        self.step = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists():
            self._resume()
        tiles = CHAIN_TILES[self.device.type == "cuda"]
        prior = PatchPrior(self.model, trained=config.trained, tile_batch=tiles)
        seed = (config.seed * self.world + self.rank) * 1_000_003 + self.step
        self.chains = Chains(prior, config.data, seed=seed, bf16=config.bf16)
        self._paired = bool(pairs)
        self._add(pairs)

    def _add(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            self.source.add(pair)
            self.chains.add(pair)

    def run(
        self,
        *,
        minutes: float | None = None,
        log_every: int = 50,
        validate_every: int = 500,
        callback: Callable[[TrainStep], None] | None = None,
    ) -> None:
        """Train until `num_steps` or for `minutes`, then save; StopIteration of the callback saves too."""
        started = since = time.perf_counter()
        losses: list[Tensor] = []
        chain_losses: list[float] = []
        patches = 0
        for batch in self._batches():
            if batch is None:
                done = self.chains.step()
                chain_losses.append(done.loss)
                patches += done.tiles
            else:
                losses.append(self._patch_loss(batch))
                patches += self.config.volumes * self.config.crops
            self._update()
            self.step += 1
            over = minutes is not None and time.perf_counter() - started > 60 * minutes
            last = over or self.step == self.config.num_steps
            validate = last or self.step % validate_every == 0
            if validate or self.step % log_every == 0:
                log = TrainStep(
                    step=self.step,
                    total=self.config.num_steps,
                    loss=float(torch.stack(losses).mean()) if losses else None,  # waits for the device
                    chain_loss=fmean(chain_losses) if chain_losses else None,
                    learning_rate=self.config.learning_rate * learning_rate_factor(self.step, self.config),
                    patches_per_second=patches / (time.perf_counter() - since),
                    scores=self.validate() if validate and self.rank == 0 else None,
                )
                self._log(log)
                if validate:
                    self.save()
                if callback is not None and self.rank == 0:
                    try:
                        callback(log)
                    except StopIteration:
                        self.save()
                        return
                losses, chain_losses, patches, since = [], [], 0, time.perf_counter()
            if last:
                return

    def _batches(self) -> Iterator[Batch | None]:
        """The batches from this step on; None for a pass of a chain.

        A second thread makes them while the network computes.
        """
        steps = iter(range(self.step, self.config.num_steps))
        with ThreadPoolExecutor(1) as loader:
            ahead = deque(loader.submit(self._batch, step) for step in islice(steps, PREFETCHED))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(loader.submit(self._batch, step) for step in islice(steps, 1))
                yield batch

    def _batch(self, step: int) -> Batch | None:
        """This process's share of the batch of a step; None for a pass of a chain."""
        if step % PAIRS_EVERY == 0:
            self._add(self.more_pairs())
        if self._is_chain_step(step):
            return None
        batch = self.source.batch(step)
        n = len(batch.weight) // self.world
        return batch.part(slice(self.rank * n, (self.rank + 1) * n), self.device)

    @property
    def _reconstructs(self) -> bool:
        """Whether some steps are passes of reconstructions; the same in all processes."""
        paired = self._paired if self.world > 1 else len(self.chains) > 0
        return paired and self.config.data.chains > 0

    def _is_chain_step(self, step: int) -> bool:
        rng = np.random.default_rng([self.config.seed, 5, step])
        return self._reconstructs and bool(rng.random() < self.config.data.chains)

    def validate(self) -> Scores | None:
        """Scores of the averaged weights on held-out volumes; None without any."""
        return None if self.validation is None else self.validation.scores(self.average)

    def _patch_loss(self, batch: Batch) -> Tensor:
        """Loss () of a batch, whose gradients are added to those of the network."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            loss = edm_loss(self.model, batch).mean()
        weight = self.config.patch_weight if self._reconstructs else 1.0
        (weight * loss).backward()
        loss = loss.detach()
        if self.world > 1:
            dist.all_reduce(loss)
            loss /= self.world
        return loss

    def _update(self) -> None:
        """A step of the optimiser with the gradients of all processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.step, self.config)
        if self.world > 1:
            for weight in self.model.parameters():
                if weight.grad is not None:
                    dist.all_reduce(weight.grad)
                    weight.grad /= self.world
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        renormalize(self.model)
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the exponential average; its memory is a quarter of the steps so far, limited by `ema`."""
        share = 1 - min(self.config.ema, (1 + self.step) / (5 + self.step))
        for averaged, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
            averaged.lerp_(current, share)

    # ---- files: written under another name and renamed, so that a stop at any moment leaves complete files

    def save(self) -> None:
        """Write state, config and averaged weights; in a distributed run the first process does."""
        if self.rank:
            return
        temporary = self.folder / (STATE + ".part")
        safetensors.torch.save_file(self._state(), temporary)
        temporary.replace(self.folder / STATE)
        (self.folder / "config.json").write_text(json.dumps(asdict(self.config), indent=1), "utf-8")
        info = {"steps": self.step}
        save_prior(self.folder / "prior.safetensors", self.average, trained=self.config.trained, info=info)

    def _state(self) -> dict[str, Tensor]:
        """Weights, averaged weights, and the optimiser's state per weight, by name."""
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
                f"{self.folder} holds a run of another network, or its {STATE} is damaged; choose an empty"
                " folder."
            ) from error
        self.step = int(state["step"])

    def _log(self, done: TrainStep) -> None:
        if self.rank == 0:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(done)) + "\n")
