#!/usr/bin/env python3
"""Writes the PyTorch fixtures that anchor the f64 oracle and both backends.

Every input is drawn as float32 and then widened, every result is computed in float64 and
stored as float32: the expected values are exact functions of the stored inputs, up to one
rounding. The run is seeded per case, so adding a case changes no other file.
"""

import argparse
import itertools
import json
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "crates/rnn-api/tests/fixtures"

CELLS = {
    "lstm": lambda **kw: torch.nn.LSTM(**kw),
    "gru": lambda **kw: torch.nn.GRU(**kw),
    "rnn_tanh": lambda **kw: torch.nn.RNN(nonlinearity="tanh", **kw),
    "rnn_relu": lambda **kw: torch.nn.RNN(nonlinearity="relu", **kw),
}


def seed(name):
    """Seeds torch from the name of the case."""
    torch.manual_seed(zlib.crc32(name.encode()))


def randn(*shape):
    """Normal values that float32 holds exactly, as float64."""
    return torch.randn(*shape, dtype=torch.float32).double()


def leaf(*shape):
    return randn(*shape).requires_grad_()


def exact_double(module):
    """The module in float64; its freshly drawn float32 parameters stay exact."""
    return module.float().double()


def save(out, name, tensors, key, description):
    """One metadata key only: safetensors does not fix the order of several."""
    stored = {}
    for tensor_name, value in tensors.items():
        value = value.detach()
        dtype = torch.int64 if value.dtype == torch.int64 else torch.float32
        # clone: safetensors refuses tensors that share memory.
        stored[tensor_name] = value.to(dtype).clone(memory_format=torch.contiguous_format)
    save_file(stored, out / f"{name}.safetensors", metadata={key: json.dumps(description)})


# --- recurrent stacks ---------------------------------------------------------------------


def stack_case(
    out, name, cell, layers, bidirectional, state, bias=True, dims=(5, 3, 4, 7), proj_size=0, lengths=None
):
    """One recurrent stack: parameters, inputs, cotangents, and every result and gradient.

    With `lengths` the stack runs over a packed sequence: x and dy hold values past the ends as well,
    which must not matter.
    """
    seed(name)
    steps, batch, inputs, hidden = dims
    projection = {"proj_size": proj_size} if proj_size else {}
    rnn = exact_double(
        CELLS[cell](
            input_size=inputs,
            hidden_size=hidden,
            num_layers=layers,
            bidirectional=bidirectional,
            bias=bias,
            **projection,
        )
    )
    directions = 2 if bidirectional else 1
    is_lstm = cell == "lstm"
    width = proj_size or hidden
    state_shape = (layers * directions, batch, width)
    cell_shape = (layers * directions, batch, hidden)

    x = leaf(steps, batch, inputs)
    states = {}
    if state:
        states["h0"] = leaf(*state_shape)
        if is_lstm:
            states["c0"] = leaf(*cell_shape)
    cotangents = {"dy": randn(steps, batch, directions * width), "dh_n": randn(*state_shape)}
    if is_lstm:
        cotangents["dc_n"] = randn(*cell_shape)

    if not state:
        initial = None
    elif is_lstm:
        initial = (states["h0"], states["c0"])
    else:
        initial = states["h0"]
    if lengths is None:
        y, final = rnn(x, initial)
    else:
        packed, final = rnn(pack_padded_sequence(x, lengths, enforce_sorted=False), initial)
        y, _ = pad_packed_sequence(packed, total_length=steps)
    results = {"y": y}
    if is_lstm:
        results["h_n"], results["c_n"] = final
    else:
        results["h_n"] = final
    sum((results[n] * cotangents[f"d{n}"]).sum() for n in results).backward()

    tensors = {"x": x, **states, **cotangents, **dict(rnn.named_parameters())}
    if lengths is not None:
        tensors["lengths"] = torch.tensor(lengths)
    tensors |= {f"expect.{n}": value for n, value in results.items()}
    tensors |= {f"expect.d{n}": value.grad for n, value in {"x": x, **states}.items()}
    tensors |= {f"expect.d.{n}": value.grad for n, value in rnn.named_parameters()}
    config = {
        "cell": cell,
        "input_size": inputs,
        "hidden_size": hidden,
        "num_layers": layers,
        "bidirectional": bidirectional,
        "bias": bias,
        "proj_size": proj_size,
    }
    save(out, name, tensors, "config", config)


def stack_cases(out):
    for cell, layers, bidirectional, state in itertools.product(
        CELLS, (1, 2), (False, True), (False, True)
    ):
        direction = "bi" if bidirectional else "uni"
        suffix = "_state" if state else ""
        name = f"stack_{cell}_l{layers}_{direction}{suffix}"
        stack_case(out, name, cell, layers, bidirectional, state)
    stack_case(out, "stack_gru_l2_bi_state_no_bias", "gru", 2, True, True, bias=False)
    stack_case(out, "stack_lstm_l2_bi_state_t1_b1", "lstm", 2, True, True, dims=(1, 1, 4, 7))
    stack_case(out, "stack_lstm_l1_uni_proj", "lstm", 1, False, False, proj_size=3)
    stack_case(out, "stack_lstm_l2_bi_state_proj", "lstm", 2, True, True, proj_size=3)
    # Neither sorted nor without ties; the shortest and the longest are among them.
    ragged = dict(lengths=[3, 5, 1, 5, 2], dims=(5, 5, 4, 7))
    for cell in CELLS:
        stack_case(out, f"stack_{cell}_l2_bi_state_lengths", cell, 2, True, True, **ragged)
    stack_case(out, "stack_gru_l1_uni_lengths", "gru", 1, False, False, **ragged)
    stack_case(out, "stack_lstm_l2_bi_state_proj_lengths", "lstm", 2, True, True, proj_size=3, **ragged)


# --- optimizers -----------------------------------------------------------------------------

# Name of the case -> (torch class, options). Every option that changes the result is written
# out, because a default that PyTorch changes would otherwise change the meaning of a fixture.
OPTIMIZERS = {
    "sgd": ("SGD", dict(lr=0.5)),
    "sgd_weight_decay": ("SGD", dict(lr=0.5, weight_decay=0.1)),
    "sgd_momentum": ("SGD", dict(lr=0.2, momentum=0.9)),
    "sgd_momentum_weight_decay": ("SGD", dict(lr=0.2, momentum=0.9, weight_decay=0.05)),
    "sgd_nesterov": ("SGD", dict(lr=0.2, momentum=0.9, nesterov=True)),
    "sgd_nesterov_weight_decay": (
        "SGD",
        dict(lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.05),
    ),
    "rmsprop": ("RMSprop", dict(lr=0.01, alpha=0.95, eps=1e-6)),
    "adagrad": ("Adagrad", dict(lr=0.05, eps=1e-8)),
    "adam": ("Adam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7)),
    "adam_weight_decay": ("Adam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1)),
    "adamw": ("AdamW", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.0)),
    "adamw_weight_decay": (
        "AdamW",
        dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.3),
    ),
    "adadelta": ("Adadelta", dict(lr=0.7, rho=0.9, eps=1e-4)),
    "adadelta_weight_decay": ("Adadelta", dict(lr=0.7, rho=0.9, eps=1e-4, weight_decay=0.1)),
    "nadam": ("NAdam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7, momentum_decay=0.02)),
    "nadam_weight_decay": (
        "NAdam",
        dict(lr=0.02, betas=(0.8, 0.95), eps=1e-7, momentum_decay=0.02, weight_decay=0.1),
    ),
    "nadam_decoupled": (
        "NAdam",
        dict(
            lr=0.02,
            betas=(0.8, 0.95),
            eps=1e-7,
            momentum_decay=0.02,
            weight_decay=0.3,
            decoupled_weight_decay=True,
        ),
    ),
    "rmsprop_momentum": ("RMSprop", dict(lr=0.01, alpha=0.95, eps=1e-6, momentum=0.8)),
}
OPTIMIZER_DEFAULTS = {
    "SGD": dict(momentum=0.0, nesterov=False, weight_decay=0.0),
    "RMSprop": dict(weight_decay=0.0),
    "Adagrad": dict(weight_decay=0.0),
    "Adam": dict(weight_decay=0.0),
    "AdamW": dict(),
    "Adadelta": dict(weight_decay=0.0),
    "NAdam": dict(weight_decay=0.0, decoupled_weight_decay=False),
}
TRAINING_STEPS = 10


def optimizer_description(kind, options):
    """The options as flat JSON: betas become beta1 and beta2."""
    flat = {"name": kind.lower(), **OPTIMIZER_DEFAULTS[kind], **options}
    if "betas" in flat:
        flat["beta1"], flat["beta2"] = flat.pop("betas")
    return flat


def optimizer_case(out, name, kind, options):
    """Ten losses of LSTM(3->5) -> last step -> Linear(5->4) -> cross entropy, fixed batch."""
    seed("optimizers")  # the same model and batch for every optimizer
    steps, batch, inputs, hidden, classes = 6, 4, 3, 5, 4
    model = exact_double(
        torch.nn.ModuleDict(
            {"lstm": torch.nn.LSTM(inputs, hidden), "head": torch.nn.Linear(hidden, classes)}
        )
    )
    x = randn(steps, batch, inputs)
    labels = torch.randint(classes, (batch,))

    tensors = {"x": x, "labels": labels}
    tensors |= {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = getattr(torch.optim, kind)(model.parameters(), **options)
    losses = []
    for _ in range(TRAINING_STEPS):
        optimizer.zero_grad()
        y, _ = model["lstm"](x)
        loss = F.cross_entropy(model["head"](y[-1]), labels)
        losses.append(loss.detach().clone())  # the loss before this step's update
        loss.backward()
        optimizer.step()
    tensors["losses"] = torch.stack(losses)
    tensors |= {f"after.{n}": p for n, p in model.named_parameters()}
    save(out, f"optim_{name}", tensors, "optimizer", optimizer_description(kind, options))


# --- losses and row-wise functions ------------------------------------------------------------


def add_case(tensors, name, inputs, output, dy=None):
    """Stores `name.<input>`, `name.y`, `name.dy` (non-scalar outputs) and `name.d.<input>`."""
    (output if dy is None else (output * dy).sum()).backward()
    tensors[f"{name}.y"] = output
    if dy is not None:
        tensors[f"{name}.dy"] = dy
    for input_name, value in inputs.items():
        tensors[f"{name}.{input_name}"] = value
        if value.requires_grad:
            tensors[f"{name}.d.{input_name}"] = value.grad


def losses(out):
    seed("losses")
    tensors, rows, classes = {}, 7, 5
    ignore_index, label_smoothing, eps = 2, 0.15, 1e-5

    labels = torch.tensor([0, 2, 4, 2, 1, 3, 0])
    for name, options in {
        "cross_entropy": {},
        "cross_entropy_ignore": dict(ignore_index=ignore_index),
        "cross_entropy_smooth": dict(label_smoothing=label_smoothing),
        "cross_entropy_ignore_smooth": dict(
            ignore_index=ignore_index, label_smoothing=label_smoothing
        ),
    }.items():
        logits = (3 * randn(rows, classes)).float().double().requires_grad_()
        loss = F.cross_entropy(logits, labels, **options)
        add_case(tensors, name, {"logits": logits, "labels": labels}, loss)

    x, target = leaf(rows, classes), randn(rows, classes)
    add_case(tensors, "mse", {"x": x, "target": target}, F.mse_loss(x, target))

    x, target = leaf(rows, classes), torch.rand(rows, classes).double()
    loss = F.binary_cross_entropy_with_logits(x, target)
    add_case(tensors, "bce_with_logits", {"x": x, "target": target}, loss)

    x, gamma, beta = leaf(rows, classes), leaf(classes), leaf(classes)
    y = F.layer_norm(x, (classes,), gamma, beta, eps)
    inputs = {"x": x, "gamma": gamma, "beta": beta}
    add_case(tensors, "layer_norm", inputs, y, randn(rows, classes))

    for name, function in {"softmax": F.softmax, "log_softmax": F.log_softmax}.items():
        x = leaf(rows, classes)
        add_case(tensors, name, {"x": x}, function(x, dim=-1), randn(rows, classes))

    config = dict(ignore_index=ignore_index, label_smoothing=label_smoothing, eps=eps)
    save(out, "losses", tensors, "config", config)


# --- losses of sequences ----------------------------------------------------------------------


def sequence_losses(out):
    """Losses of ragged batches. In PyTorch only CTC takes lengths, so valid steps are taken out first."""
    seed("sequence_losses")
    tensors, (steps, batch, features) = {}, (6, 3, 4)
    lengths = torch.tensor([2, 6, 5])
    delta = 0.7
    valid = torch.arange(steps)[:, None] < lengths[None, :]  # [T, B]
    tensors["lengths"] = lengths

    for name, function in {
        "mse": F.mse_loss,
        "mae": F.l1_loss,
        "huber": lambda x, t: F.huber_loss(x, t, delta=delta),
    }.items():
        x, target = leaf(steps, batch, features), randn(steps, batch, features)
        add_case(tensors, name, {"x": x, "target": target}, function(x[valid], target[valid]))

    x = leaf(steps, batch, features)
    target = torch.rand(steps, batch, features).double()
    loss = F.binary_cross_entropy_with_logits(x[valid], target[valid])
    add_case(tensors, "bce_with_logits", {"x": x, "target": target}, loss)

    x, target = leaf(steps, batch, features), randn(steps, batch, features)
    variance = (0.2 + torch.rand(steps, batch, features)).double().requires_grad_()
    loss = F.gaussian_nll_loss(x[valid], target[valid], variance[valid], eps=1e-12)
    add_case(tensors, "gaussian_nll", {"x": x, "target": target, "variance": variance}, loss)

    x = leaf(steps, batch, features)
    labels = torch.randint(features, (steps, batch))
    add_case(tensors, "cross_entropy", {"x": x, "labels": labels}, F.cross_entropy(x[valid], labels[valid]))

    # Long enough for log-probabilities of some hundred; an empty target, repeats, and one that does not fit.
    steps, batch, classes, blank = 40, 5, 6, 2
    lengths, counts = torch.tensor([40, 31, 7, 1, 3]), torch.tensor([15, 12, 4, 0, 3])
    targets = torch.tensor([0, 1, 3, 4, 5])[torch.randint(5, (batch, 15))]
    targets[4, :3] = 1
    tensors |= {"ctc.lengths": lengths, "ctc.counts": counts, "ctc.targets": targets}
    for name, reduction in {"ctc_mean": "mean", "ctc_sum": "sum"}.items():
        x = (2 * randn(steps, batch, classes)).float().double().requires_grad_()
        log_p = F.log_softmax(x, dim=-1)
        options = dict(blank=blank, reduction=reduction, zero_infinity=True)
        add_case(tensors, name, {"x": x}, F.ctc_loss(log_p, targets, lengths, counts, **options))

    save(out, "sequence_losses", tensors, "config", dict(delta=delta, blank=blank))


# --- learning-rate schedules ----------------------------------------------------------------

SCHEDULE_STEPS = 40


def schedules(out):
    """The rate of every step, and those after every metric of a plateau."""
    S = torch.optim.lr_scheduler
    cases = {
        "step": lambda o: S.StepLR(o, step_size=7, gamma=0.5),
        "exponential": lambda o: S.ExponentialLR(o, gamma=0.9),
        "cosine": lambda o: S.CosineAnnealingLR(o, T_max=39, eta_min=0.01),
        "one_cycle": lambda o: S.OneCycleLR(o, max_lr=0.3, total_steps=40, cycle_momentum=False),
        "one_cycle_rise": lambda o: S.OneCycleLR(
            o,
            max_lr=0.3,
            total_steps=40,
            pct_start=0.25,
            div_factor=10.0,
            final_div_factor=100.0,
            cycle_momentum=False,
        ),
    }
    tensors = {}
    for name, make in cases.items():
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
        scheduler = make(optimizer)
        rates = []
        for _ in range(SCHEDULE_STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        tensors[name] = torch.tensor(rates, dtype=torch.float64)

    seed("plateau")
    falling = torch.linspace(2.0, 0.5, 30).maximum(torch.tensor(1.2))
    metrics = falling.double() + 0.01 * randn(30)
    metrics = metrics.float().double()
    for name, sign, options in [
        ("plateau_min", 1.0, dict(mode="min", factor=0.5, patience=2, threshold=1e-3)),
        ("plateau_max", -1.0, dict(mode="max", factor=0.5, patience=1, cooldown=3, min_lr=0.03)),
    ]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
        scheduler = S.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for metric in metrics:
            scheduler.step(sign * (metric - 3.0) if sign < 0 else metric)
            rates.append(optimizer.param_groups[0]["lr"])
        tensors[name] = torch.tensor(rates, dtype=torch.float64)
    tensors["metrics"] = metrics
    save(out, "schedules", tensors, "config", {"lr": 0.2})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the fixtures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # a fixed order of every sum
    stack_cases(out)
    for name, (kind, options) in OPTIMIZERS.items():
        optimizer_case(out, name, kind, options)
    losses(out)
    sequence_losses(out)
    schedules(out)


if __name__ == "__main__":
    main()
