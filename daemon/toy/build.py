"""`python -m daemon.toy.build`: draws the world and trains the toy on it, stage by stage; run again, it goes on.

Two processes of one thread each share a CPU (or one process takes a GPU), spawned here and averaged over gloo.
Everything under way lies in --work-dir; a kill at any moment costs the steps since the last checkpoint.
Finished folders are trained on in an empty --work-dir by --stages pictures,adopt,latents,base,refiner,export.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch
import torch.distributed as dist

from daemon.toy import WEIGHTS_PATH
from daemon.toy.export import adopt, export
from daemon.toy.loop import Plan, Rank
from daemon.toy.pictures import write_pictures
from daemon.toy.train_probe import export_probe, train_probe
from daemon.toy.train_unet import make_tokenizers, train_base, train_refiner
from daemon.toy.train_vae import finish_vae, train_vae, write_latents

STAGES = ("pictures", "vae", "latents", "probe", "base", "refiner", "export")
"""From nothing. `adopt` instead of `vae` goes on from the VAE and the base in --weights-dir."""
DEFAULT_WORK_PATH = Path.home() / ".cache/negtui/toy-build"


def parser() -> argparse.ArgumentParser:
    """The command line. The defaults are what the shipped weights were built with, the base's steps of two runs added up."""
    command = argparse.ArgumentParser(prog="python -m daemon.toy.build", description=__doc__)
    command.add_argument("--work-dir", type=Path, default=DEFAULT_WORK_PATH, help="where everything under way lies")
    command.add_argument("--weights-dir", type=Path, default=WEIGHTS_PATH, help="where the finished folders go")
    command.add_argument("--stages", default=",".join(STAGES), help="which stages, comma-joined")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--num-pictures", type=int, default=20_000)
    command.add_argument("--num-probe-pictures", type=int, default=9_000)
    command.add_argument("--num-processes", type=int, default=0, help="0: one on a GPU, else two of one thread each")
    command.add_argument("--batch-size", type=int, default=32, help="noised latents a step, all processes together")
    command.add_argument("--vae-batch-size", type=int, default=16, help="whole pictures a step, all processes together")
    command.add_argument("--vae-steps", type=int, default=2_600)
    command.add_argument("--probe-steps", type=int, default=1_500)
    command.add_argument("--base-steps", type=int, default=10_300)
    command.add_argument("--base-tail-steps", type=int, default=2_900, help="cosine at the end; until then constant")
    command.add_argument("--refiner-steps", type=int, default=1_800)
    command.add_argument("--save-every", type=int, default=200)
    command.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    command.add_argument("--rendezvous", help=argparse.SUPPRESS)
    return command


def main(arguments: list[str] | None = None) -> None:
    """Runs the stages asked for, or, as a spawned rank, its share of one."""
    options = parser().parse_args(arguments)
    if options.rank is not None:
        _end_with_parent()
        run_rank(options)
        return
    stages = options.stages.split(",")
    if unknown := set(stages) - {*STAGES, "adopt"}:
        raise SystemExit(f"no stage is called {', '.join(sorted(unknown))}: choose from {', '.join((*STAGES, 'adopt'))}")
    for stage in stages:
        print(f"stage {stage}", flush=True)
        if stage in ("vae", "latents", "base", "refiner"):
            spawn_ranks(options, stage)
        else:
            run_stage(options, stage)


def run_stage(options: argparse.Namespace, stage: str) -> None:
    """A stage that this process does alone."""
    device, work_path = "cuda" if torch.cuda.is_available() else "cpu", options.work_dir
    if stage == "pictures":
        write_pictures(work_path, options.num_pictures, options.seed)
    elif stage == "probe":
        train_probe(plan_for(options, "probe"), options.num_probe_pictures, 64, Rank(device=device), work_path)
        print(export_probe(work_path, options.num_probe_pictures, options.weights_dir / "probe"))
    elif stage == "adopt":
        adopt(work_path, options.weights_dir)
    elif stage == "export":
        export(work_path, options.weights_dir)


def plan_for(options: argparse.Namespace, stage: str) -> Plan:
    """How one stage trains."""
    common = {"seed": options.seed, "save_every": options.save_every}
    if stage == "vae":
        steps = options.vae_steps
        return Plan("vae", steps, 2e-3, tail_steps=steps * 2 // 3, ema_decay=0.99, **common)
    if stage == "probe":
        return Plan("probe", options.probe_steps, 1e-3, tail_steps=options.probe_steps // 2, ema_decay=0.99, **common)
    if stage == "base":
        return Plan("base", options.base_steps, 1e-3, tail_steps=options.base_tail_steps, **common)
    steps = options.refiner_steps
    return Plan("refiner", steps, 5e-4, tail_steps=steps * 2 // 3, ema_decay=0.99, **common)


def spawn_ranks(options: argparse.Namespace, stage: str) -> None:
    """One process a rank; if one fails, the others are ended and the build stops with its words."""
    world = options.num_processes or (1 if torch.cuda.is_available() else 2)
    # Here, once: ranks that wrote the same file together would read each other's half of it.
    if stage == "base":
        make_tokenizers(options.work_dir)
    elif stage == "latents":
        finish_vae(options.work_dir, "cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if world > 1 else dict(os.environ)
        own = [f"--{key.replace('_', '-')}={value}" for key, value in vars(options).items() if value is not None]
        command = [sys.executable, "-m", "daemon.toy.build", *own, f"--stages={stage}", f"--num-processes={world}"]
        command += [f"--rendezvous={folder}/store"]
        ranks = [subprocess.Popen([*command, f"--rank={rank}"], env=environment, stdin=subprocess.PIPE) for rank in range(world)]
        try:
            codes = [rank.wait() for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.communicate()
    if any(codes):
        raise SystemExit(f"stage {stage} failed (exit codes {codes}); run the same command again to go on")


def run_rank(options: argparse.Namespace) -> None:
    """This rank's share of a training stage."""
    if options.num_processes > 1:
        store = f"file://{options.rendezvous}"
        dist.init_process_group("gloo", store, rank=options.rank, world_size=options.num_processes)
    rank = Rank(options.rank, options.num_processes, "cuda" if torch.cuda.is_available() else "cpu")
    if options.stages == "latents":
        write_latents(options.work_dir, rank)
        return
    train = {"vae": train_vae, "base": train_base, "refiner": train_refiner}[options.stages]
    batch_size = options.vae_batch_size if options.stages == "vae" else options.batch_size
    train(plan_for(options, options.stages), batch_size // rank.world, rank, options.work_dir)
    if options.num_processes > 1:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """Ends this rank when the build dies, however it dies: two builds must never write the same checkpoint."""

    def wait_for_end() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()


if __name__ == "__main__":
    main()
