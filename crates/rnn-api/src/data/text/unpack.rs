//! Compressed text.

use crate::{Error, Result};
use std::path::Path;

/// Unpacks gzip, at most `limit` bytes.
#[cfg(feature = "gzip")]
pub(super) fn unpack(path: &Path, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>> {
    use crate::data::error::{Place, Problem};
    use crate::data::reserve::room;
    use std::io::Read;

    // A vector that grows would hold its values twice for a moment, and then more room than it needs.
    const BLOCK: usize = 1 << 18;
    let (mut blocks, mut total) = (Vec::<Vec<u8>>::new(), 0);
    let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
    loop {
        let mut block: Vec<u8> = room("read_text", "a block of unpacked text", &[BLOCK])?;
        let read = reader.by_ref().take(BLOCK as u64).read_to_end(&mut block);
        total += read.map_err(|source| Error::io(path, source))?;
        if block.is_empty() {
            break;
        }
        if total as u64 > limit {
            let expected =
                format!("at most {limit} bytes of unpacked text (TextOptions::with_max_unpacked raises it)");
            let problem = Problem::Format { expected, got: "more".into() };
            return Err(problem.at(Place::file(Some(path))));
        }
        blocks.push(block);
    }
    drop(bytes);
    let mut text = room("read_text", "the unpacked text", &[total])?;
    blocks.into_iter().for_each(|block| text.extend_from_slice(&block));
    Ok(text)
}

#[cfg(not(feature = "gzip"))]
pub(super) fn unpack(path: &Path, _: Vec<u8>, _: u64) -> Result<Vec<u8>> {
    let why = "this build lacks the feature `gzip`".to_string();
    Err(Error::Unsupported { what: format!("reading {}, a compressed file,", path.display()), why })
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use crate::data::text::tests::TestFile;
    use crate::data::{Fasta, TextOptions, read_text_with};
    use std::io::Write;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn unpacked_text_has_a_limit_that_can_be_raised() {
        // Three blocks, in two members of one file.
        let text = vec![b'x'; 300_000];
        let both = [packed(&text), packed(&text)].concat();
        let file = TestFile::new("bomb.txt.gz", &both);
        let read = |limit| read_text_with(&file.0, &TextOptions::new().with_max_unpacked(limit));
        assert_eq!(read(600_000).unwrap().len(), 600_000);
        for limit in [0, 599_999] {
            let error = read(limit).unwrap_err().to_string();
            assert!(
                error.contains(&format!("at most {limit} bytes")) && error.contains("with_max_unpacked"),
                "{error}"
            );
        }
        let records = TestFile::new("records", &packed(b">a\r\nAC\r\n"));
        assert_eq!(Fasta::read(&records.0).unwrap()[0].sequence, "AC");
        let twice = TestFile::new("twice.gz", &packed(&packed(b"text")));
        let error = read_text_with(&twice.0, &TextOptions::new()).unwrap_err().to_string();
        assert!(error.contains("a gzip file inside a gzip file"), "{error}");
    }
}
