//! A small network with random weights.

use rnn_api::prelude::*;
use rnn_testing::data::scaled;

/// Symbols of the network.
pub(crate) const V: usize = 7;

pub(crate) struct Network {
    device: Device,
    embedding: Embedding,
    gru: Gru,
    head: Linear,
}
module!(Network { embedding, gru, head });

impl Network {
    pub(crate) fn new(device: &Device, layers: usize) -> Self {
        let network = Network {
            device: device.clone(),
            embedding: EmbeddingConfig::new(V, 5).init(device, 1).unwrap(),
            gru: GruConfig::new(5, 9).with_num_layers(layers).init(device, 2).unwrap(),
            head: LinearConfig::new(9, V).init(device, 3).unwrap(),
        };
        // Large weights, so that symbols depend on those before.
        for (seed, (_, param)) in (10..).zip(network.named_parameters()) {
            let values = scaled(seed, param.dims().iter().product(), 1.2);
            param.set(&Tensor::from_vec(device, values, param.dims()).unwrap()).unwrap();
        }
        network
    }

    pub(crate) fn start(&self, rows: usize) -> GruState {
        let zero = self.gru.zero_state(rows).unwrap();
        // Not zero; the same for every row, so that a row of its own starts there, too.
        GruState::new(Tensor::full(&self.device, zero.h.dims(), 0.25).unwrap(), 1)
    }

    pub(crate) fn step(&self) -> impl Fn(&Tensor, &GruState) -> rnn_api::Result<(Tensor, GruState)> {
        |symbols: &Tensor, state: &GruState| {
            let out = self.gru.forward(&self.embedding.forward(symbols)?, Some(state))?;
            Ok((self.head.forward(&out.y)?, out.state))
        }
    }

    /// The logits of the symbol after these, from the start.
    pub(crate) fn logits_after(&self, symbols: &[u32]) -> Vec<f32> {
        let symbols = Tensor::from_indices(&self.device, symbols, &[symbols.len(), 1]).unwrap();
        let all = no_grad(|| self.step()(&symbols, &self.start(1)).unwrap().0).to_vec().unwrap();
        all[all.len() - V..].to_vec()
    }
}

pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
    logits.iter().map(|&x| f64::from(x) - sum.ln()).collect()
}

/// The symbols of a tensor of indices.
pub(crate) fn symbols(tensor: &Tensor) -> rnn_api::Result<Vec<u32>> {
    // Row k of this table is k.
    let table = Tensor::from_vec(tensor.device(), (0..V).map(|v| v as f32).collect(), &[V, 1])?;
    Ok(table.gather(tensor)?.to_vec()?.into_iter().map(|v| v as u32).collect())
}
