//! A small model that several tests train.

use rnn_api::Result;
use rnn_api::prelude::*;
use rnn_testing::data::uniform;

pub(crate) struct Reader {
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}
rnn_api::module!(Reader { embedding, lstm, head });

impl Reader {
    pub(crate) fn new(device: &Device, dropout: f32) -> Self {
        Reader::stored(device, dropout, Storage::F32)
    }

    /// With the values of its steps stored in that way.
    pub(crate) fn stored(device: &Device, dropout: f32, storage: Storage) -> Self {
        let lstm = LstmConfig::new(4, 12).with_num_layers(2).with_dropout(dropout).with_storage(storage);
        Reader {
            embedding: EmbeddingConfig::new(3, 4).init(device, 1).unwrap(),
            lstm: lstm.init(device, 2).unwrap(),
            head: LinearConfig::new(12, 3).init(device, 3).unwrap(),
        }
    }

    /// Which of three tokens stood first?
    pub(crate) fn loss(&self, device: &Device, seed: u64) -> Result<Tensor> {
        const T: usize = 8;
        const B: usize = 16;
        let token = |x: &f32| (((x + 1.0) * 1.5) as u32).min(2);
        let tokens: Vec<u32> = uniform(seed, T * B).iter().map(token).collect();
        let labels = Tensor::from_indices(device, &tokens[..B], &[B])?;
        let x = self.embedding.forward(&Tensor::from_indices(device, &tokens, &[T, B])?)?;
        self.head.forward(&self.lstm.forward(&x, None)?.last()?)?.cross_entropy(&labels)
    }

    /// Every parameter by name.
    pub(crate) fn values(&self) -> Vec<(String, Vec<f32>)> {
        let params = self.named_parameters().into_iter();
        params.map(|(name, param)| (name, param.value().to_vec().unwrap())).collect()
    }

    /// The bits of every parameter, by name.
    pub(crate) fn bits(&self) -> Vec<(String, Vec<u32>)> {
        let values = self.values().into_iter();
        values.map(|(name, v)| (name, v.into_iter().map(f32::to_bits).collect())).collect()
    }
}
