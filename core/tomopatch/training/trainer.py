"""The trainer: EDM's denoising loss on patches (Karras et al. 2022), conditional and unconditional.

It runs in one process or, started by torchrun, in several. Each process then computes a share of every batch,
so the loss curve is that of one process with the same global batch.
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

import safetensors
import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from tomopatch.prior.files import load_prior, save_prior
from tomopatch.prior.network import inherit, renormalize
from tomopatch.prior.precond import Precond
from tomopatch.prior.rof import rof
from tomopatch.training.pairs import Pair, TrainingVolume
from tomopatch.training.source import Batch, PatchSource
from tomopatch.training.train_config import TrainConfig, learning_rate_factor
from tomopatch.training.validation import Scores, ValidationSet

STATE = "state.safetensors"
PAIRS_EVERY = 100  # steps after which further pairs are taken up
PREFETCHED = 4  # batches


@dataclass(frozen=True)
class TrainStep:
    """A logged step: mean training loss since the last one, and validation scores if measured."""

    step: int
    total: int
    loss: float
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
        Called for further pairs every PAIRS_EVERY steps. With it a resumed run is no longer exactly the same
        as an uninterrupted one.
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
            self.model.network.compile()
            if self.device.type == "cuda":  # the CPU has its own kernel
                self.model.smoothing = torch.compile(rof)
        torch.backends.cudnn.benchmark = True  # all batches have the same shape
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98))
        self.source = PatchSource(
            volumes,
            config.data,
            pairs=pairs,
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
        for batch in self._batches():
            losses.append(self._train_step(batch))
            self.step += 1
            over = minutes is not None and time.perf_counter() - started > 60 * minutes
            last = over or self.step == self.config.num_steps
            validate = last or self.step % validate_every == 0
            if validate or self.step % log_every == 0:
                learning_rate = self.config.learning_rate * learning_rate_factor(self.step, self.config)
                loss = float(torch.stack(losses).mean())  # waits for the device
                patches = len(losses) * self.config.volumes * self.config.crops
                speed = patches / (time.perf_counter() - since)
                scores = self.validate() if validate and self.rank == 0 else None
                done = TrainStep(self.step, self.config.num_steps, loss, learning_rate, speed, scores)
                self._log(done)
                if validate:
                    self.save()
                if callback is not None and self.rank == 0:
                    try:
                        callback(done)
                    except StopIteration:
                        self.save()
                        return
                losses, since = [], time.perf_counter()
            if last:
                return

    def _batches(self) -> Iterator[Batch]:
        """The batches from this step on. A second thread makes them while the network computes."""
        steps = iter(range(self.step, self.config.num_steps))
        with ThreadPoolExecutor(1) as loader:
            ahead = deque(loader.submit(self._batch, step) for step in islice(steps, PREFETCHED))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(loader.submit(self._batch, step) for step in islice(steps, 1))
                yield batch

    def _batch(self, step: int) -> Batch:
        """This process's share of the batch of a step."""
        if step % PAIRS_EVERY == 0:
            for pair in self.more_pairs():
                self.source.add(pair)
        batch = self.source.batch(step)
        n = len(batch.weight) // self.world
        return batch.part(slice(self.rank * n, (self.rank + 1) * n), self.device)

    def validate(self) -> Scores | None:
        """Scores of the averaged weights on held-out volumes; None without any."""
        return None if self.validation is None else self.validation.scores(self.average)

    def _train_step(self, batch: Batch) -> Tensor:
        """The loss (), possibly not yet computed on a GPU."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.step, self.config)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            loss = edm_loss(self.model, batch).mean()
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
        info = {"steps": self.step, "patches": self.step * self.config.volumes * self.config.crops}
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
