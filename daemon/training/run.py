"""A trainer on its way to the finished adapter: steps, measurements, orders, checkpoints, and the words for what goes wrong.

Knows nothing of how models are lent, images encoded or adapters put on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from daemon.engine.memory import move_aside, retrying
from daemon.files import sweep_temporary
from daemon.protocol.errors import NegError
from daemon.protocol.events import AdapterSaved, CheckpointSaved, DurableEvent, Logged
from daemon.protocol.orders import Checkpoint, LearningRate, Order, Sample, StopAndKeep
from daemon.recipe import Interrupted, JobContext
from daemon.training import checkpoint, orders
from daemon.training.adapters import export
from daemon.training.adapters.formats import adapter_files
from daemon.training.adapters.metadata import make_record
from daemon.training.built import Built
from daemon.training.companions import accompanied
from daemon.training.monitoring.early_stopping import EarlyStopping
from daemon.training.monitoring.held_out import Denoiser
from daemon.training.monitoring.metrics import Measurement, MetricsFile, Point, aligned_batches, last_batch, measured
from daemon.training.monitoring.monitor import Monitor, NotFiniteMeasure
from daemon.training.monitoring.pace import Pace, memory_reader
from daemon.training.monitoring.sample_lines import Place
from daemon.training.monitoring.samples import Sampler
from daemon.training.monitoring.scoring import find_score
from daemon.training.monitoring.trackers import Trackers
from daemon.training.plan import TrainingPlan
from daemon.training.trainer import NotFinite

BY_REQUEST = "stopped by request"


class Run:
    """A trainer on its way: checkpoints, points, measurements, orders, and the words for what goes wrong."""

    def __init__(self, plan: TrainingPlan, context: JobContext, found: Built) -> None:
        adapter, trainer = found.adapter, found.trainer
        self._plan, self._spec, self._context, self._adapter, self._trainer = plan, plan.spec, context, adapter, trainer
        self._environment = checkpoint.environment(found.parts.device, plan.spec.num_processes)
        self._saved_step = 0
        self._bit_exact = True
        self._stopped = False
        self._values: dict[str, float] = {}
        self._warnings: list[str] = []
        place, score = Place(plan.session_path, plan.checkpoints_path.name), find_score(plan.job.model)
        denoiser = Denoiser(trainer.predict, trainer.encode, adapter.off, trainer.schedule, trainer.device)
        sampler = Sampler(self._spec, found.parts, place, context, self._spec.instance_prompt, score)
        self._monitor = Monitor(self._spec, context, denoiser, sampler, found.batches.held_out, adapter.weights, trainer.evaluating)
        are_scored = score is not None and bool(self._spec.sample_steps and self._spec.sample_prompts)
        self._early = EarlyStopping(self._spec, samples_are_scored=are_scored) if self._spec.early_stopping else None
        self._pace = Pace(context.job_id, self._spec, memory_reader(trainer.device))
        self._idle = found.idle

    def events(self) -> Iterator[DurableEvent]:
        yield from self._resume()
        with contextlib.ExitStack() as stack:
            stack.enter_context(accompanied(self._plan, self._context, self._trainer))
            self._journal = orders.Journal(self._plan.checkpoints_path / orders.FILE_NAME)
            self._metrics = stack.enter_context(contextlib.closing(MetricsFile(self._plan.metrics_path, self._trainer.step)))
            self._trackers = stack.enter_context(contextlib.closing(self._new_trackers()))
            yield from aligned_batches(self._context.job_id, self._metrics.points, self._spec.max_train_steps)
            yield from measured(self._context.job_id, self._metrics.measurements)
            yield from self._stopping_well()
            with self._context.phase("export"):
                saved = self._export()
        # Trackers may fail while they are closed.
        yield from self._warned()
        yield saved

    def _resume(self) -> Iterator[DurableEvent]:
        folder = self._plan.checkpoints_path
        sweep_temporary(folder)
        loaded = checkpoint.load_checkpoint(folder, self._plan.fingerprint, self._warnings.append)
        yield from self._warned()
        if loaded is None:
            return
        state, record = loaded
        self._restore(state)
        self._saved_step = state.step
        self._bit_exact = record.bit_exact and record.environment == self._environment
        yield self._checkpoint_saved(state.step)
        if record.environment != self._environment:
            text = f"The training goes on elsewhere than it began ({_difference(record.environment, self._environment)})"
            yield self._logged("warning", f"{text}: its last bits may differ.")

    def _restore(self, state: checkpoint.TrainerState) -> None:
        self._trainer.restore(state)
        self._monitor.restore(state.facts.get("monitor", {}))
        if self._early is not None and "early_stopping" in state.facts:
            self._early.restore(state.facts["early_stopping"])
            # It may have been marked later than this checkpoint was written.
            with contextlib.suppress(ValueError):
                checkpoint.mark_best(self._plan.checkpoints_path, self._early.best_step)

    def _stopping_well(self) -> Iterator[DurableEvent]:
        """All steps; asked to stop, a checkpoint first."""
        try:
            yield from self._steps()
        except Interrupted:
            self._journal.take(self._trainer.step + 1, self._context.orders())
            yield from self._checkpoint()
            raise
        except (NotFinite, NotFiniteMeasure) as error:
            raise self._not_finite(error) from error

    def _steps(self) -> Iterator[DurableEvent]:
        yield from self._watch(is_end=self._trainer.step == self._spec.max_train_steps)
        while self._trainer.step < self._spec.max_train_steps and not self._is_over:
            yield from self._obey()
            if self._stopped:
                break
            with self._context.phase("train"):
                point = self._take_step()
            yield from self._follow(point)
            yield from self._watch(is_end=point.step == self._spec.max_train_steps)
            if self._spec.export_steps and point.step % self._spec.export_steps == 0:
                self._keep_step()
            if point.step % self._spec.checkpointing_steps == 0:
                yield from self._checkpoint()
        if self._trainer.step < self._spec.max_train_steps:
            yield from self._watch(is_end=True)
            yield from aligned_batches(self._context.job_id, last_batch(self._metrics.points), self._trainer.step)
        yield from self._checkpoint()

    @property
    def _is_over(self) -> bool:
        return self._early is not None and self._early.is_over

    def _take_step(self) -> Point:
        self._pace.start()
        # Whatever a step raises, the weights are those of the step before: it can be taken again, unless others took it too.
        can_retry = self._trainer.device.type == "cuda" and self._spec.num_processes == 1
        rungs = [("encoders leave the device", lambda: move_aside(*self._idle))] if can_retry else []
        point = retrying(lambda: self._trainer.take_step(self._context.check), rungs)
        if point.adapter_norm is not None and not math.isfinite(point.adapter_norm):
            raise NotFiniteMeasure(f"the norm of the adapter's weights became {point.adapter_norm}")
        return point

    def _follow(self, point: Point) -> Iterator[DurableEvent]:
        """Write a step down and tell of it."""
        self._metrics.append(point)
        readings = {name: float(value) for name, value in _readings(point).items()}
        self._values |= readings
        self._trackers.add(point.step, readings)
        self._context.tell(self._pace.progress(point.step, dict(self._values)))
        yield from self._warned()
        yield from aligned_batches(self._context.job_id, last_batch(self._metrics.points), self._spec.max_train_steps)

    def _watch(self, *, is_end: bool) -> Iterator[DurableEvent]:
        yield from self._recorded(self._monitor.at(self._trainer.step, is_end=is_end))

    def _recorded(self, found: Iterator[DurableEvent | Measurement]) -> Iterator[DurableEvent]:
        """Write measurements down, tell of them, and see whether they are the best so far."""
        for one in found:
            if not isinstance(one, Measurement):
                yield one
                continue
            self._metrics.measure(one)
            self._values |= one.values
            self._trackers.add(one.step, one.values)
            yield from measured(self._context.job_id, [one])
            yield from self._judge(one)
        yield from self._warned()

    def _judge(self, found: Measurement) -> Iterator[DurableEvent]:
        if self._early is None or self._early.metric not in found.values or found.step == 0:
            return
        if self._early.observe(found.step, found.values[self._early.metric]):
            yield from self._checkpoint()
            checkpoint.mark_best(self._plan.checkpoints_path, found.step)
        if self._early.is_over:
            yield self._logged("info", f"Early stopping at step {found.step}: {self._early.reason}.")

    def _obey(self) -> Iterator[DurableEvent]:
        """What a person ordered, before the next step."""
        for order in self._journal.take(self._trainer.step + 1, self._context.orders()):
            yield from self._obey_one(order)

    def _obey_one(self, order: Order) -> Iterator[DurableEvent]:
        step = self._trainer.step
        match order:
            case Sample():
                if not self._spec.sample_prompts:
                    yield self._logged("warning", "There is nothing to sample: training.sample_prompts is empty.")
                    return
                yield from self._recorded(self._monitor.sample(step))
            case Checkpoint():
                yield from self._checkpoint()
            case LearningRate():
                self._trainer.scale_learning_rate(order.value / self._spec.learning_rate)
                yield self._logged("info", f"From step {step + 1} on learning_rate is {order.value:g}, by request.")
            case StopAndKeep() if step == 0:
                yield self._logged("warning", "There is nothing to keep before the first step; the training goes on.")
            case StopAndKeep():
                self._stopped = True
                yield self._logged("info", f"The training stops after step {step}, by request; the adapter is kept as it is.")

    def _checkpoint(self) -> Iterator[DurableEvent]:
        step = self._trainer.step
        if step == self._saved_step:
            return
        with self._context.phase("checkpoint"):
            try:
                state = self._state()
            except NotFinite as error:
                raise self._not_finite(error) from error
            # The points first: a checkpoint must not know more steps than the curve.
            self._metrics.sync()
            checkpoint.save_checkpoint(self._plan.checkpoints_path, state, self._plan.fingerprint, self._environment, self._bit_exact)
        self._saved_step = step
        yield self._checkpoint_saved(step)

    def _state(self) -> checkpoint.TrainerState:
        state = self._trainer.state()
        early = {} if self._early is None else {"early_stopping": self._early.facts()}
        return dataclasses.replace(state, facts={**state.facts, "monitor": self._monitor.facts(), **early})

    def _keep_step(self) -> None:
        step = self._trainer.step
        with self._context.phase("export"), self._trainer.evaluating():
            files = adapter_files(self._plan, self._adapter, self._adapter.weights(), self._metrics.points[:step])
            export.keep_step(self._plan, step, files)

    def _export(self) -> AdapterSaved:
        reason = self._end()
        step = self._trainer.step
        points = self._metrics.points[:step]
        with self._trainer.evaluating():
            files = adapter_files(self._plan, self._adapter, self._adapter.weights(), points)
        files |= export.kept_steps(self._plan)
        record = make_record(
            self._plan, files, export.weights_name(self._spec), self._adapter.num_parameters, points, self._environment, self._bit_exact
        )
        told = tuple(_order_in_words(entry) for entry in self._journal.entries if entry.step <= step + 1)
        record = msgspec.structs.replace(record, step=step, reason=reason, orders=told, measurements=self._measurements_at(step))
        saved = export.save_adapter(self._plan, files, record)
        return msgspec.structs.replace(saved, step=step, reason=reason) if reason else saved

    def _end(self) -> str:
        """Put the weights in place that are kept; returns in words why they are not those of the last step asked for."""
        if self._stopped:
            return f"{BY_REQUEST} after step {self._trainer.step} of {self._spec.max_train_steps}"
        if self._early is None:
            return ""
        last_step, best = (
            self._trainer.step,
            checkpoint.load_best(self._plan.checkpoints_path, self._plan.fingerprint, self._warnings.append),
        )
        if best is not None and best[0].step != last_step:
            self._trainer.restore(best[0])
        if self._trainer.step == self._spec.max_train_steps:
            return ""
        return f"early stopping: {self._early.metric} was best at step {self._trainer.step} of the {last_step} that were trained"

    def _measurements_at(self, step: int) -> dict[str, float]:
        return {name: value for one in self._metrics.measurements if one.step == step for name, value in one.values.items()}

    def _new_trackers(self) -> Trackers:
        plan = self._plan
        folder, run = plan.metrics_path.parent, plan.checkpoints_path.name
        return Trackers(self._spec, folder, plan.job.session, run, self._trainer.step, self._warnings.append)

    def _checkpoint_saved(self, step: int) -> CheckpointSaved:
        path = checkpoint.checkpoint_path(self._plan.checkpoints_path, step)
        return CheckpointSaved(job_id=self._context.job_id, step=step, path=self._plan.relative(path))

    def _logged(self, level: Literal["info", "warning"], message: str) -> Logged:
        return Logged(job_id=self._context.job_id, level=level, message=message)

    def _warned(self) -> Iterator[Logged]:
        while self._warnings:
            yield self._logged("warning", self._warnings.pop(0))

    def _not_finite(self, error: Exception) -> NegError:
        kept = f" The checkpoint of step {self._saved_step} is kept." if self._saved_step else ""
        step = self._trainer.step + isinstance(error, NotFinite)
        return NegError(
            "invalid",
            f"Training stopped at step {step} of {self._spec.max_train_steps}: {error}.{kept}",
            "Lower learning_rate, add lr_warmup_steps, or set model.torch_dtype to float32 or bfloat16.",
        )


def _readings(point: Point) -> dict[str, float]:
    return {name: value for name, value in msgspec.structs.asdict(point).items() if name != "step" and value is not None}


def _order_in_words(entry: orders.Entry) -> str:
    if isinstance(entry.order, LearningRate):
        return f"learning_rate {entry.order.value:g} from step {entry.step} on"
    return f"stop after step {entry.step - 1}"


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    # One process is not worth a word.
    before, now = ({"num_processes": "1", **found} for found in (before, now))
    names = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}" for name in names)
