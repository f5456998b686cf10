//! Names of files that are no safetensors, and what to do with them.

const TORCH: &str = "io::load reads weights from it";
const KERAS: &str = "load it in Keras, and save its arrays under PyTorch's names as safetensors";

/// What a file is, by its first bytes, and the remedy; `None` for what may be safetensors or is not known.
pub(super) fn describe(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(4096)];
    let holds = |text: &str| start.windows(text.len()).any(|part| part == text.as_bytes());
    let (what, remedy) = match start {
        [] => ("an empty file", "write it again, or download it again"),
        _ if start.starts_with(b"version https://git-lfs.github.com/spec/") => {
            ("a pointer of Git LFS in the place of the file", "fetch the file itself with `git lfs pull`")
        }
        [b'P', b'K', 3, 4, ..] if holds("/data.pkl") => ("a file of torch.save (.pt, .pth)", TORCH),
        [b'P', b'K', 3, 4, ..] if holds(".npy") => {
            ("a NumPy archive (.npz)", "save its arrays as safetensors")
        }
        [b'P', b'K', 3, 4, ..] if holds("metadata.json") || holds("config.json") => {
            ("a Keras file (.keras)", KERAS)
        }
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unpack it"),
        [0x80, 2..=5, ..] => ("a pickle", "save weights with torch.save or as safetensors"),
        _ if start.starts_with(b"\x89HDF\r\n\x1a\n") => ("an HDF5 file, such as Keras saves (.h5)", KERAS),
        _ if start.starts_with(b"\x93NUMPY") => ("a NumPy array (.npy)", "save it as safetensors"),
        _ if start.starts_with(b"GGUF") => ("a GGUF file", "download the safetensors of the same model"),
        [0x1f, 0x8b, ..] => ("a gzip file", "unpack it"),
        [8, _, 0x12, ..] => ("an ONNX model", "save its initialisers as safetensors"),
        _ if holds("\"weight_map\"") => {
            ("the index of a checkpoint in several files", "load the .safetensors files that it names")
        }
        _ if start.trim_ascii_start().starts_with(b"<") => ("a web page", "download the file itself"),
        _ => return None,
    };
    Some(format!("this is {what}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::describe;
    use crate::nn::{Linear, LinearConfig, Module};
    use crate::{Device, io};
    use std::collections::{BTreeMap, HashMap};
    use std::path::PathBuf;

    fn linear(seed: u64) -> Linear {
        LinearConfig::new(2, 3).init(&Device::cpu(), seed).unwrap()
    }

    fn weights(linear: &Linear) -> Vec<f32> {
        linear.parameters().iter().flat_map(|param| param.value().to_vec().unwrap()).collect()
    }

    /// A path in the temporary folder, removed at the end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            Temporary(std::env::temp_dir().join(format!("rnn-api-io-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    /// A state dict of PyTorch's `DataParallel`, and one of a larger model.
    #[test]
    fn a_prefix_before_every_name_is_removed_or_named_with_the_remedy() {
        let file = Temporary::new("prefix.safetensors");
        let saved = linear(1);
        let named = |prefix: &str| -> BTreeMap<_, _> {
            let dict = saved.state_dict().into_iter();
            dict.map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
        };
        io::write(&file.0, &named("net.module."), HashMap::new()).unwrap();
        let other = linear(2);
        let remedy = "prefix `net.module.`; remove it with io::LoadOptions::with_prefix(\"net.module.\")";
        let error = io::load_with(&other, &file.0, &io::LoadOptions::new().with_prefix("net.")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("`weight` is missing") && error.contains(remedy), "{error}");
        // A layer of another size: the prefix does not fit, and is named.
        let wide = LinearConfig::new(3, 3).init(&Device::cpu(), 2).unwrap();
        let error = io::load(&wide, &file.0).unwrap_err().to_string();
        assert!(error.contains("`weight` is missing") && error.contains(remedy), "{error}");
        // The only prefix that fits is removed.
        io::load(&other, &file.0).unwrap();
        assert_eq!(weights(&saved), weights(&other));
        let other = linear(4);
        io::load_with(&other, &file.0, &io::LoadOptions::new().with_prefix("net.module.")).unwrap();
        assert_eq!(weights(&saved), weights(&other));

        let third = linear(3);
        let error = third.load_state_dict(&named("module.")).unwrap_err().to_string();
        assert!(error.contains("the prefix `module.`") && error.contains("io::without_prefix"), "{error}");
        third.load_state_dict(&io::without_prefix(&named("module."), "module.")).unwrap();
        assert_eq!(weights(&saved), weights(&third));
    }

    #[test]
    fn weights_in_other_formats_are_refused_by_name() {
        let file = Temporary::new("pointer.safetensors");
        std::fs::write(&file.0, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
            .unwrap();
        let error = io::load(&linear(1), &file.0).unwrap_err().to_string();
        assert!(error.contains("pointer.safetensors") && error.contains("git lfs pull"), "{error}");
    }

    #[test]
    fn well_known_files_are_named_with_a_remedy() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        for (bytes, what, remedy) in [
            (&b""[..], "an empty file", "download"),
            (lfs, "a pointer of Git LFS", "git lfs pull"),
            (b"PK\x03\x04\0\0x.npy", "NumPy archive", "as safetensors"),
            (b"PK\x03\x04\0\0config.json", "Keras file", "Keras"),
            (b"PK\x03\x04\0\0", "a zip archive", "unpack"),
            (b"PK\x03\x04\0\0\0\0archive/data.pkl", "torch.save", "io::load"),
            (b"\x80\x02\x8a\nl\xfc", "a pickle", "torch.save"),
            (b"\x89HDF\r\n\x1a\n", "HDF5", "Keras"),
            (b"\x93NUMPY\x01", "NumPy array", "as safetensors"),
            (b"\x1f\x8b\x08", "a gzip file", "unpack"),
            (b"\x08\x08\x12\x07pytorch", "an ONNX model", "as safetensors"),
            (b"{\"metadata\": {}, \"weight_map\": {}}", "in several files", ".safetensors files"),
            (b"\n<!DOCTYPE html>", "a web page", "download"),
        ] {
            let text = describe(bytes).unwrap_or_default();
            assert!(text.contains(what) && text.contains(remedy), "{text}");
        }
        // A header of 64 bytes, and anything else.
        for bytes in [&b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}"[..], b"x", b"\xff\xff\xff\xff"] {
            assert_eq!(describe(bytes), None);
        }
    }
}
