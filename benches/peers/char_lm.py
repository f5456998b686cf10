"""Times an epoch of the character model in PyTorch and in examples/char_lm.rs in turn, on one thread and on two.

    python benches/peers/char_lm.py TEXT

Both train on the first 90 % of TEXT in 32 streams of 50 steps, with embedding 64, one LSTM layer of 128 units,
cross-entropy, gradients clipped to norm 1 and Adam with cosine decay. PyTorch's seconds are those of the updates alone;
ours include the validation at the end.
"""

import json
import re
import subprocess
import sys
import time

from peers import ROOT, run, torch_python

STEPS, BATCH, EMBEDDING, HIDDEN = 50, 32, 64, 128


def train(path, threads):
    import torch
    from torch import nn

    torch.manual_seed(1)
    torch.set_num_threads(threads)
    text = open(path, encoding="utf-8").read()
    vocabulary = {c: n for n, c in enumerate(sorted(set(text)))}
    data = torch.tensor([vocabulary[c] for c in text])[: int(0.9 * len(text))]
    length = len(data) // BATCH
    streams = data[: length * BATCH].view(BATCH, length).t().contiguous()
    embedding, lstm = nn.Embedding(len(vocabulary), EMBEDDING), nn.LSTM(EMBEDDING, HIDDEN)
    head = nn.Linear(HIDDEN, len(vocabulary))
    parameters = [*embedding.parameters(), *lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    updates = (length - 1) // STEPS
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    loss_of, state, start = nn.CrossEntropyLoss(), None, time.perf_counter()
    for update in range(updates):
        x = streams[update * STEPS : (update + 1) * STEPS]
        target = streams[update * STEPS + 1 : (update + 1) * STEPS + 1]
        y, state = lstm(embedding(x), state)
        state = tuple(part.detach() for part in state)
        loss = loss_of(head(y).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    return {"seconds": time.perf_counter() - start, "updates": updates, "loss": loss.item()}


def ours(binary, path, threads):
    environment = {"RNN_THREADS": str(threads), "RNN_DEVICE": "cpu"}
    command = [binary, "--text", path, "--device", "cpu", "--epochs", "1", "--length", "1"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return out.stdout + out.stderr


def main():
    path = sys.argv[1]
    if len(sys.argv) > 2:
        print(json.dumps(train(path, int(sys.argv[2]))))
        return
    run(["cargo", "build", "--release", "--quiet", "--example", "char_lm"], cwd=ROOT)
    binary = ROOT / "target" / "release" / "examples" / "char_lm"
    for threads in (1, 2):
        for _ in range(3):
            theirs = json.loads(run([torch_python(), __file__, path, threads]))
            text = ours(binary, path, threads)
            seconds = float(re.search(r"seconds=([0-9.]+)", text)[1])
            print(f"{threads} threads: PyTorch {theirs['seconds']:.2f} s, ours {seconds} s", flush=True)


if __name__ == "__main__":
    main()
