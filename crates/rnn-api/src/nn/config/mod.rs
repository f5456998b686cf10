//! The recurrent layers by cell: a file per cell has its names and settings, and `common.rs` has the settings
//! that all cells share.

mod any;
mod common;
mod gru;
mod lstm;
mod mgu;
mod parts;
mod rnn;

pub(super) use common::CellOptions;
pub use common::{RecurrentCell, RecurrentConfig};
pub use parts::ForgetBias;
pub(crate) use parts::StackConfig;

/// The public names of every cell.
pub(crate) mod cells {
    pub use super::any::*;
    pub use super::gru::*;
    pub use super::lstm::*;
    pub use super::mgu::*;
    pub use super::rnn::*;
}

#[cfg(test)]
mod tests {
    use super::cells::*;

    #[test]
    fn configurations_survive_json() {
        let config = LstmConfig::new(3, 5).with_num_layers(2).without_forget_bias();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LstmConfig>(&json).unwrap(), config);
        let short: LstmConfig = serde_json::from_str(r#"{"input_size":3,"hidden_size":5}"#).unwrap();
        assert_eq!(short, LstmConfig::new(3, 5), "absent fields take the defaults of new()");
        let unknown = r#"{"input_size":3,"hidden_size":5,"hiden":1}"#;
        assert!(serde_json::from_str::<GruConfig>(unknown).is_err());
        assert!(serde_json::from_str::<RnnConfig>(r#"{"input_size":3}"#).is_err());
    }

    #[test]
    fn json_is_one_flat_object() {
        let json = serde_json::to_value(LstmConfig::new(3, 5).with_cell_clip(2.0)).unwrap();
        assert_eq!((&json["hidden_size"], &json["cell_clip"]), (&5.into(), &2.0.into()));
        assert!(json.get("cell").is_none());
        for unknown in [r#""peephole":true"#, r#""cell":{}"#, r#""hiden":1"#] {
            let json = format!(r#"{{"input_size":3,"hidden_size":5,{unknown}}}"#);
            let error = serde_json::from_str::<GruConfig>(&json).unwrap_err().to_string();
            let name = unknown.split('"').nth(1).unwrap();
            assert!(error.contains(&format!("unknown field `{name}`")), "{error}");
        }
    }
}
