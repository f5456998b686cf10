"""Trains small LSTMs of Neural Amp Modeler for a few steps, exports them, and writes a fixture of rnn-interop.

    python3 -m venv venv
    venv/bin/pip install neural-amp-modeler
    venv/bin/python tools/reference/nam_models.py

The file holds, for each model: the exported file without its metadata, an input, and the output that the exported model has
for it. The exporter adds the state after a second of silence as the initial state.
"""

import json
import pathlib
import tempfile

import torch
from nam.models.recurrent import LSTM

OUT = pathlib.Path(__file__).parents[2] / "crates/rnn-interop/tests/fixtures/nam.json"


def case(hidden_size, num_layers, sample_rate):
    torch.manual_seed(hidden_size)
    model = LSTM(hidden_size, num_layers=num_layers, sample_rate=sample_rate)
    x = torch.rand(1, 200) - 0.5
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        ((model(x, pad_start=False) - torch.tanh(3 * x)) ** 2).mean().backward()
        optimizer.step()
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        model.export(pathlib.Path(folder))
        file = json.loads((pathlib.Path(folder) / "model.nam").read_text())
    del file["metadata"]
    x = torch.rand(1, 40) * 2 - 1
    with torch.no_grad():
        h, c = model._get_initial_state()
        y = model._forward(x, initial_state=(h, c))
    return {"file": file, "x": x[0].tolist(), "y": y[0].tolist()}


OUT.write_text(json.dumps([case(3, 2, 48000.0), case(5, 1, None)]) + "\n")
