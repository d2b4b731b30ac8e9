"""Training on two hosts: normally, while the network fails, and when a process is lost.

The hosts are two network namespaces of this machine that a veth pair connects. Each runs torchrun
with one process, and all traffic between them uses that pair. This needs Linux, root and the `ip`
command. It answers three questions:

1. Do two hosts reach the weights of a single process on the same batches?
2. If the link is cut, how soon does the job end, and does it report the reason? This is asked of a
   plain job and of an elastic one. The torchruns of an elastic job keep a connection open, so the
   operating system must detect that the other end does not answer (`net.ipv4.tcp_retries2`; see
   docs/guide/many_gpus.md).
3. If one process is killed with -9, does torchrun's elastic restart lead to the same weights?

    python -m tests.training.two_hosts --out /tmp/two --json two.json
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from benchmarks.figures import Figures, argument_parser
from tests.prepared import make_prepared_catalog
from toomuchtv.training.metrics import read_metrics

ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29_477
TIMEOUT_SECONDS = 20
#: Retransmissions of an unacknowledged segment (docs/guide/many_gpus.md): 0.2 s, doubled each time.
RETRIES = 5
SETTINGS = [
    "clip.frames=4", "clip.audio_seconds=0.25", "transform.size=32",
    "model.video.width=0.125", "model.audio.width=0.125", "model.embedding_dim=16",
    "sampling.batch_size=8", "sampling.clips_per_item=4", "sampling.min_gap_seconds=0.25",
    "optimizer.name=sgd", "optimizer.learning_rate=0.0001", "optimizer.warmup_steps=5",
    "training.num_threads=1", "training.num_workers=1", "training.log_every=1",
    "training.validation_clips=4", "training.checkpoint_every=5", "training.held_out_share=0.25",
    "training.device=cpu", "training.sync_batch_norm=true",
    f"training.distributed_timeout_seconds={TIMEOUT_SECONDS}",
]  # fmt: skip


def is_possible() -> bool:
    """Return True if this process may create network namespaces."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("ip") is not None


def ip(*arguments: str) -> str:
    """Run the `ip` command and return its output."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Hosts:
    """Two network namespaces and the link between them; use the context manager `hosts`."""

    def __init__(self) -> None:
        self.names = tuple(f"tmtv{os.getpid()}{letter}" for letter in "ab")
        self.links = tuple(f"tmtv{os.getpid() % 100_000}{letter}" for letter in "ab")

    def build(self) -> None:
        """Create the namespaces and the link."""
        for name in self.names:
            ip("netns", "add", name)
        ip("link", "add", self.links[0], "type", "veth", "peer", "name", self.links[1])
        for name, link, address in zip(self.names, self.links, ADDRESSES, strict=True):
            ip("link", "set", link, "netns", name)
            ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Delete the namespaces, which also deletes the link."""
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def shorten_tcp_timeout(self) -> None:
        """Close connections that do not answer after 13 s instead of 15 minutes."""
        command = f"echo {RETRIES} > /proc/sys/net/ipv4/tcp_retries2"
        for name in self.names:
            ip("netns", "exec", name, "sh", "-c", command)

    def cut(self) -> None:
        """Cut the link."""
        ip("-n", self.names[1], "link", "set", self.links[1], "down")

    def bytes_sent(self) -> int:
        """Return the number of bytes that the first host has sent over the link."""
        path = f"/sys/class/net/{self.links[0]}/statistics/tx_bytes"
        return int(
            subprocess.run(
                ["ip", "netns", "exec", self.names[0], "cat", path],
                check=True, capture_output=True, text=True,
            ).stdout
        )  # fmt: skip

    def start(
        self, catalog_path: Path, run_path: Path, *, steps: int, restarts: int | None = None
    ) -> list[subprocess.Popen[bytes]]:
        """Start torchrun on both hosts; its output goes to `RUN_a.log` and `RUN_b.log`.

        Args:
            catalog_path: The catalog to train on.
            run_path: Folder of the run.
            steps: Number of steps of the run.
            restarts: Number of restarts of an elastic job; None for a job that is not elastic.
        """
        processes = []
        for number, (name, link) in enumerate(zip(self.names, self.links, strict=True)):
            command = [
                "ip", "netns", "exec", name,
                sys.executable, "-m", "torch.distributed.run",
                "--nnodes", "2", "--nproc-per-node", "1", "--local-addr", ADDRESSES[number],
                *(rendezvous(number) if restarts is None else elastic(number, restarts)),
                # Without the dashes, torchrun reads --run as its own option --run-path.
                "-m", "--", "toomuchtv", *arguments(catalog_path, run_path, steps),
            ]  # fmt: skip
            with log_of(run_path, number).open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        command,
                        stdout=log,
                        stderr=log,
                        env={
                            **os.environ,
                            "GLOO_SOCKET_IFNAME": link,
                            "OMP_NUM_THREADS": "1",
                            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
                        },
                        start_new_session=True,
                    )
                )
        return processes


def rendezvous(number: int) -> list[str]:
    """Return the rendezvous options of a job that is not elastic."""
    return ["--node-rank", str(number), "--master-addr", ADDRESSES[0], "--master-port", str(PORT)]


def elastic(number: int, restarts: int) -> list[str]:
    """Return the rendezvous options of an elastic job."""
    return [
        "--max-restarts", str(restarts), "--rdzv-id", "two", "--rdzv-backend", "c10d",
        "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}",
        "--rdzv-conf",
        f"is_host={int(number == 0)},read_timeout={TIMEOUT_SECONDS},join_timeout={TIMEOUT_SECONDS}",
    ]  # fmt: skip


@contextmanager
def hosts() -> Iterator[Hosts]:
    """Create two hosts and the link between them, and delete them at the end."""
    made = Hosts()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def arguments(catalog_path: Path, run_path: Path, steps: int) -> list[str]:
    """Return the arguments of `toomuchtv`, which are the same after every restart."""
    settings = [*SETTINGS, f"training.steps={steps}"]
    return [
        "pretrain", "--catalog", str(catalog_path), "--run", str(run_path), "--resume",
        "--preset", "tiny", *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip


def log_of(run_path: Path, number: int) -> Path:
    """Return the path of the output of a host."""
    return run_path.parent / f"{run_path.name}_{'ab'[number]}.log"


def wait_all(processes: Sequence[subprocess.Popen[bytes]], timeout_seconds: float) -> list[int]:
    """Return the exit codes of the torchruns; kill those that run longer than the timeout."""
    until = time.monotonic() + timeout_seconds
    for process in processes:
        try:
            process.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return [process.returncode for process in processes]


def wait_for_step(run_path: Path, step: int, timeout_seconds: float = 600.0) -> None:
    """Wait until a step is logged."""
    until = time.monotonic() + timeout_seconds
    while not any(line["step"] >= step for line in read_metrics(run_path)):
        if time.monotonic() > until:
            raise SystemExit(f"step {step} of {run_path.name} was not reached: see its logs")
        time.sleep(0.05)


def training_process(process: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the training process that a torchrun started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if "toomuchtv" in child.cmdline() and "torch.distributed.run" not in child.cmdline():
            return child
    raise SystemExit("torchrun has no training process")


def largest_difference(one: Path, two: Path) -> float:
    """Return the largest difference of a weight, relative to the largest one of its tensor."""
    left, right = (load_file(path / "model" / "model.safetensors") for path in (one, two))
    return max(
        float((value - right[name]).abs().max() / value.abs().max().clamp(min=1e-3))
        for name, value in left.items()
        if value.is_floating_point()
    )


def is_same(one: Path, two: Path) -> bool:
    """Return True if the weights of two finished runs are identical to the bit."""
    left, right = (load_file(path / "model" / "model.safetensors") for path in (one, two))
    return all(torch.equal(value, right[name]) for name, value in left.items())


def losses(run_path: Path) -> list[float]:
    """Return all logged losses."""
    return [line["loss"] for line in read_metrics(run_path) if "loss" in line]


def train_together(catalog_path: Path, out: Path, steps: int) -> dict[str, float]:
    """Answer question 1 with `out/alone` (one process) and `out/together` (two hosts)."""
    alone = subprocess.run(
        [sys.executable, "-m", "toomuchtv", *arguments(catalog_path, out / "alone", steps)],
        check=False, capture_output=True,
    )  # fmt: skip
    if alone.returncode:
        raise SystemExit(alone.stderr.decode())
    with hosts() as made:
        codes = wait_all(made.start(catalog_path, out / "together", steps=steps), 900.0)
        sent = made.bytes_sent()
    if codes != [0, 0]:
        raise SystemExit(log_of(out / "together", 0).read_text())
    ours, theirs = losses(out / "alone"), losses(out / "together")
    return {
        "steps": steps,
        "largest_relative_difference_of_a_weight": largest_difference(
            out / "alone", out / "together"
        ),
        "largest_difference_of_a_loss": max(abs(a - b) for a, b in zip(ours, theirs, strict=True)),
        "megabytes_over_the_link": sent / 1e6,
    }


def cut_the_link(catalog_path: Path, out: Path, *, is_elastic: bool) -> dict[str, float]:
    """Answer question 2 with a long run, `out/cut_plain` or `out/cut_elastic`."""
    kind = "elastic" if is_elastic else "plain"
    run_path = out / f"cut_{kind}"
    with hosts() as made:
        if is_elastic:
            made.shorten_tcp_timeout()
        processes = made.start(
            catalog_path, run_path, steps=100_000, restarts=1 if is_elastic else None
        )
        wait_for_step(run_path, 8)
        made.cut()
        begun = time.monotonic()
        codes = wait_all(processes, 120.0)
        seconds = time.monotonic() - begun
    said = [log_of(run_path, number).read_text(errors="replace") for number in (0, 1)]
    return {
        f"{kind}_seconds_from_the_cut_to_the_end": seconds,
        f"{kind}_hosts_that_ended_by_themselves": sum(code != -signal.SIGKILL for code in codes),
        f"{kind}_hosts_that_failed": sum(code != 0 for code in codes),
        f"{kind}_hosts_that_said_why": sum(
            "lost contact with another process" in text for text in said
        ),
    }


def lose_a_process(catalog_path: Path, out: Path, steps: int) -> dict[str, float]:
    """Answer question 3 by comparing `out/restarted` with `out/together` of question 1."""
    run_path = out / "restarted"
    with hosts() as made:
        processes = made.start(catalog_path, run_path, steps=steps, restarts=3)
        wait_for_step(run_path, steps // 3)
        training_process(processes[1]).kill()
        codes = wait_all(processes, 900.0)
    if codes != [0, 0]:
        raise SystemExit(log_of(run_path, 0).read_text() + log_of(run_path, 1).read_text())
    return {"restarted_run_is_the_same_to_the_bit": float(is_same(run_path, out / "together"))}


def main() -> None:
    """Answer all three questions and print the figures."""
    made = argument_parser(__doc__)
    made.add_argument("--steps", type=int, default=60)
    options = made.parse_args()
    if not is_possible():
        raise SystemExit("this needs Linux, root and the `ip` command (iproute2)")
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    catalog_path = make_prepared_catalog(options.out)
    values = train_together(catalog_path, options.out, options.steps)
    for is_elastic in (False, True):
        values |= cut_the_link(catalog_path, options.out, is_elastic=is_elastic)
    values |= lose_a_process(catalog_path, options.out, options.steps)
    Figures("two_hosts", options.json).add(values)


if __name__ == "__main__":
    main()
