"""Runs models of Keras 3 and of Keras 2 on the CPU and writes what they compute as a fixture of rnn-interop.

    python3 -m venv venv
    venv/bin/pip install keras tensorflow-cpu tf_keras
    venv/bin/python tools/reference/keras_models.py

The file holds, for each case: the Keras version, the text of `model.to_json()` without what no reader needs, the weights of
each layer in the order of `get_weights`, and runs of inputs and outputs in the model's order, and the gradients of the first run.
"""

import json
import os
import pathlib

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras as keras_3
import numpy as np
import tensorflow as tf
import tf_keras as keras_2

OUT = pathlib.Path(__file__).parents[2] / "crates/rnn-interop/tests/fixtures/keras.json"
USELESS = ("initializer", "regularizer", "constraint", "dtype", "trainable", "seed", "build_config", "implementation")


def numbers(array):
    array = np.asarray(array)
    values = array.reshape(-1).tolist()
    return {"dims": list(array.shape), "values": [float(f"{value:.9g}") for value in values]}


def stripped(value):
    if isinstance(value, dict):
        return {key: stripped(item) for key, item in value.items() if not any(word in key for word in USELESS)}
    return [stripped(item) for item in value] if isinstance(value, list) else value


def run(model, inputs):
    outputs = model(inputs[0] if len(inputs) == 1 else list(inputs))
    return outputs if isinstance(outputs, (list, tuple)) else [outputs]


def gradients(model, inputs):
    """Those of each layer in the order of `get_weights`. The loss is the sum of the mean squares of all outputs."""
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(tf.square(y)) for y in run(model, inputs))
    layers = [layer for layer in model.layers if layer.trainable_weights]
    return {
        layer.name: [numbers(tf.convert_to_tensor(gradient)) for gradient in of_layer]
        for layer, of_layer in zip(layers, tape.gradient(loss, [layer.trainable_weights for layer in layers]))
    }


class Cases:
    def __init__(self):
        self.cases = []

    def add(self, name, keras, model, *runs):
        """Random weights, then each run in turn: stateful layers carry their states."""
        random = np.random.default_rng(sum(map(ord, name)))
        weights = {}
        for layer in model.layers:
            arrays = [random.normal(0, 0.6, w.shape).astype("float32") for w in layer.get_weights()]
            layer.set_weights(arrays)
            weights[layer.name] = [numbers(array) for array in arrays]
        recorded = []
        for inputs in runs:
            outputs = run(model, inputs)
            recorded.append({"inputs": [numbers(x) for x in inputs], "outputs": [numbers(y) for y in outputs]})
        self.cases.append({
            "name": name,
            "version": keras.__version__,
            "config": json.dumps(stripped(json.loads(model.to_json()))),
            "weights": weights,
            "runs": recorded,
            "gradients": gradients(model, runs[0]) if len(runs) == 1 else None,
        })


def steps(seed, *dims, masked=None):
    """Random steps. Those of the pattern that are 0 hold the mask value 0.5 throughout."""
    x = np.random.default_rng(seed).normal(0, 1, dims).astype("float32")
    if masked is not None:
        x[np.array(masked) == 0] = 0.5
    return x


# Right-padded, with holes, with masked steps first, masked as a whole.
PATTERN = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]


def both(cases, version, keras):
    """Cases that both versions have, whose rules differ."""
    layers = keras.layers

    def masked(*others):
        return keras.Sequential([keras.Input((None, 2)), layers.Masking(0.5), *others])

    x = steps(1, 4, 5, 2, masked=PATTERN)
    sequences = dict(return_sequences=True)
    cases.add(f"{version}_holes", keras, masked(
        layers.LSTM(3, recurrent_activation="hard_sigmoid", **sequences),
        layers.Dropout(0.5),
        layers.GRU(2, go_backwards=True, **sequences),
        layers.SimpleRNN(2, use_bias=False, activation="softsign"),
        layers.Dense(3, activation="softmax"),
    ), (x,))
    cases.add(f"{version}_gru_reset_before", keras, masked(
        layers.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", go_backwards=True),
        layers.RepeatVector(2),
        layers.Activation("hard_sigmoid"),
    ), (x,))
    for merge in ("concat", "sum", "mul", "ave"):
        cases.add(f"{version}_bidirectional_{merge}", keras, masked(
            layers.Bidirectional(layers.GRU(2, reset_after=merge == "sum", **sequences), merge_mode=merge),
            layers.TimeDistributed(layers.Dense(2, activation="elu")),
            layers.Bidirectional(layers.LSTM(2), merge_mode=merge),
        ), (x,))
    cases.add(f"{version}_two_cells", keras, masked(
        layers.Bidirectional(layers.LSTM(2, **sequences),
                             backward_layer=layers.LSTM(3, activation="relu", go_backwards=True, **sequences)),
    ), (x,))

    a, b = keras.Input((5, 2), name="a"), keras.Input((5, 2), name="b")
    ids = keras.Input((5,), dtype="int32", name="ids")
    of_a, of_b = layers.Masking(0.5)(a), layers.Masking(0.5)(b)
    shared = layers.LSTM(2, name="shared", **sequences)
    of_a, of_b = shared(of_a), shared(of_b)
    table = layers.Embedding(7, 2, mask_zero=True, name="table")(ids)
    summed = layers.Add()([of_a, of_b])
    joined = layers.Concatenate()([summed, table])
    # Keras 2 joins no masks with what has none.
    longer = layers.Concatenate(axis=1)([of_a, table] if version == "keras_2" else [of_a, b, table])
    pooled = layers.GlobalAveragePooling1D()(layers.Dense(2)(of_b))
    peak = layers.GlobalMaxPooling1D()(a)
    outputs = [
        layers.GRU(2, name="of_sum")(summed),
        layers.SimpleRNN(2, name="of_joined")(joined),
        layers.LSTM(2, name="of_longer")(longer),
        layers.Average(name="of_pooled")([pooled, peak]),
        layers.Multiply(name="broadcast")([a, pooled]),
        layers.Subtract(name="difference")([pooled, layers.Flatten()(layers.Reshape((2, 1))(peak))]),
        layers.Permute((2, 1), name="turned")(a),
    ]
    other = [[1, 1, 0, 0, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]]
    given = [[0, 3, 6, 0, 1], [2, 2, 0, 0, 0], [1, 2, 3, 4, 5], [0, 0, 4, 0, 0]]
    first = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]]
    cases.add(f"{version}_masks_meet", keras, keras.Model([a, b, ids], outputs), (
        steps(2, 4, 5, 2, masked=first), steps(3, 4, 5, 2, masked=other), np.array(given, "int32")))

    x = keras.Input((None, 2), name="x")
    encoder = layers.LSTM(3, return_state=True, name="encoder", **sequences)
    lead, h, c = encoder(layers.Masking(0.5, name="masked_x")(x))
    y = keras.Input((None, 2), name="y")
    decoder = layers.LSTM(3, name="decoder", return_state=True, **sequences)
    masking = layers.Masking(0.5, name="masked_y")
    held = decoder(masking(y), initial_state=[h, c])
    # Keras 3 hands no mask on to a call with states.
    explicit = dict(mask=masking.compute_mask(y)) if version == "keras_3" else {}
    last = layers.LSTM(3, name="last")(masking(y), initial_state=[h, c], **explicit)
    two = layers.Bidirectional(layers.GRU(3, return_state=True, **sequences), merge_mode=None, name="two")
    two = two(lead, initial_state=[h, c])
    back = layers.SimpleRNN(3, go_backwards=True, name="back")(y, initial_state=c)
    cases.add(f"{version}_states", keras, keras.Model([x, y], [*held, *two, back, last]), (
        steps(4, 4, 5, 2, masked=PATTERN), steps(5, 4, 5, 2, masked=PATTERN[::-1])))

    x = keras.Input(batch_shape=(2, 3, 2), name="x")
    carried = layers.LSTM(2, stateful=True, name="carried")(x)
    cases.add(f"{version}_stateful", keras, keras.Model(x, carried), (steps(6, 2, 3, 2),), (steps(7, 2, 3, 2),))

    x = keras.Input((4,), name="x")
    names = ["gelu", "selu", "swish", "elu", "exponential", "softplus", "softsign", "hard_sigmoid"]
    names += ["relu6", "leaky_relu", "silu", "log_softmax"] if version == "keras_3" else []
    outputs = [layers.Dense(3, activation=name, use_bias=name != "elu", name=name)(x) for name in names]
    cases.add(f"{version}_activations", keras, keras.Model(x, outputs), (2 * steps(8, 3, 4),))


def main():
    cases = Cases()
    both(cases, "keras_3", keras_3)
    both(cases, "keras_2", keras_2)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases.cases) + "\n]\n")


if __name__ == "__main__":
    main()
