"""Several processes in tests, started by the real torchrun."""

import socket
import subprocess
import sys
from pathlib import Path

from cli import SECONDS, environment

RUN = ("-m", "snnrun")


def popen(processes: int, *arguments: str, cwd: Path, what: tuple[str, ...] = RUN) -> "subprocess.Popen[str]":
    """Start ``torchrun -m snnrun ...`` on this machine, as a user would; ``what`` is what it runs."""
    with socket.socket() as free:  # torchrun's own port is one for all, its --standalone now and then takes minutes
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--master-port={port}", f"--nproc-per-node={processes}"]
    torchrun += ["--signals-to-handle", "SIGTERM,SIGINT,SIGUSR2"]  # the last one not by default
    command, pipe = [*torchrun, *what, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment(), stdout=pipe, stderr=pipe, text=True)


def run(
    processes: int, *arguments: str, cwd: Path, what: tuple[str, ...] = RUN, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """The same, to its end."""
    with popen(processes, *arguments, cwd=cwd, what=what) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    if check and process.returncode:
        raise AssertionError(f"exit code {process.returncode}\n{output}\n{errors}")
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
