"""Installs the other frameworks, and times one case of one of them. Each runs in its own process, so that its threads do
not disturb the next."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / "target" / "peers"
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def run(command, **options):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed ({done.returncode})")
    return done.stdout


def torch_python():
    """A Python with PyTorch: this one, or one in a virtual environment created here."""
    if subprocess.run([sys.executable, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
        return sys.executable
    python = INSTALLED / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(INSTALLED / "venv", with_pip=True)
        run([python, "-m", "pip", "install", "--quiet", "torch", "numpy"])
    return python


def rust_rivals(features=()):
    """Builds Burn and candle. The first build takes about five minutes on two cores, fifteen with Burn on wgpu."""
    target = Path(os.environ.get("RIVALS_TARGET_DIR", INSTALLED / "rust"))
    command = ["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "rust" / "Cargo.toml"]
    if features:
        command += ["--features", ",".join(features)]
    run([*command, "--target-dir", target])
    return target / "release" / "rivals"


def our_bench(name="grid"):
    """Builds a bench of this project and returns its executable."""
    command = ["cargo", "bench", "--bench", name, "--no-run", "--message-format=json"]
    for line in reversed(run(command, cwd=ROOT).splitlines()):
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise SystemExit(f"cargo did not say where the bench {name} is")


class Peers:
    """The sides of a comparison, built at first use."""

    def __init__(self, threads, device="cpu"):
        self.threads, self.device = threads, device
        self.built = {}

    def program(self, name, build):
        if name not in self.built:
            self.built[name] = build()
        return self.built[name]

    def row(self, peer, case):
        """`fwd_ms`, `train_ms` and further results of the side; None if it does not have the cell, or has no stacks."""
        text = json.dumps(case)
        environment = {**os.environ, "RNN_THREADS": str(self.threads), "RAYON_NUM_THREADS": str(self.threads)}
        if peer == "ours":
            grid = INSTALLED / "case.json"
            grid.parent.mkdir(parents=True, exist_ok=True)
            grid.write_text(f"[{text}]")
            bench = self.program("ours", our_bench)
            return json.loads(run([bench, "--grid", grid, "--device", self.device, "--json"], env=environment))
        if peer == "torch":
            python = self.program("torch", torch_python)
            return json.loads(run([python, HERE / "torch_case.py", self.threads, text]))
        if (peer == "candle" and case["cell"] == "rnn") or is_stack(case):
            return None
        features = ("wgpu",) if peer == "burn-wgpu" else ()
        rivals = self.program(("rust", features), lambda: rust_rivals(features))
        return json.loads(run([rivals, peer, text], env=environment))


def is_stack(case):
    """Whether a case has several layers or directions."""
    return case.get("L", 1) * case.get("D", 1) > 1


def flops(case):
    """Floating-point operations of a forward pass of one layer; training has three times as many."""
    steps, batch, inputs, hidden = (case[letter] for letter in "TBIH")
    return 2 * GATES[case["cell"]] * hidden * (inputs + hidden) * steps * batch
