//! The chunks of a WAV file: RIFF, and RF64 or BW64 for files beyond 4 GiB.
//!
//! Lengths in headers are often wrong: programs that write into a pipe never learn them, and a recorder that is
//! stopped does not return to the header. The bytes that are there decide then.

use super::pcm::{Format, le};
use crate::data::error::Problem;

/// The sample bytes of a file and their format.
#[derive(Debug)]
pub(super) struct Wav<'a> {
    pub(super) format: Format,
    /// Whole frames.
    pub(super) data: &'a [u8],
    /// What the header says otherwise than the file.
    pub(super) warnings: Vec<String>,
}

/// The length that stands for an unknown one, and for one in the `ds64` chunk.
const UNKNOWN: u32 = u32::MAX;

impl<'a> Wav<'a> {
    /// Finds format and samples.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        check_type(bytes)?;
        let (mut format, mut data, mut long) = (None, None, None);
        let (mut warnings, mut names) = (Vec::new(), Vec::new());
        let mut at = 12;
        while let Some((id, size)) = header(bytes, at) {
            let rest = &bytes[at + 8..];
            let size = match long {
                Some(long) if size == UNKNOWN && id == *b"data" => Some(long),
                _ => (size != UNKNOWN).then_some(u64::from(size)),
            };
            let body = size.and_then(|size| rest.get(..usize::try_from(size).ok()?)).unwrap_or(rest);
            match &id {
                b"ds64" => long = body.get(8..16).map(le).filter(|&size| size != 0 && size != u64::MAX),
                b"fmt " if format.is_none() => format = Some(Format::parse(body)?),
                b"data" if data.is_none() => data = Some(sample_bytes(size, body, rest, &mut warnings)),
                _ => {}
            }
            if names.len() < 20 {
                names.push(String::from_utf8_lossy(&id).into_owned());
            }
            if format.is_some() && data.is_some() {
                break;
            }
            let Some(next) = next_chunk(bytes, at + 8, size) else { break };
            at = next;
        }
        let missing = |name: &str| {
            let got = if names.is_empty() { "no chunk".into() } else { format!("chunks {names:?}") };
            Problem::Format { expected: format!("a WAV file with a `{name}` chunk"), got }
        };
        let (Some(mut format), Some(data)) = (format, data) else {
            return Err(missing(if data.is_some() { "fmt " } else { "data" }));
        };
        let whole = data.len() - data.len() % format.frame_bytes();
        if whole < data.len() {
            warnings
                .push(format!("the last {} bytes are no whole frame; they are left out", data.len() - whole));
        }
        let data = &data[..whole];
        warnings.extend(format.find_alignment(data));
        Ok(Wav { format, data, warnings })
    }
}

/// Refuses other files, by the name of their format where it is well known.
fn check_type(bytes: &[u8]) -> Result<(), Problem> {
    const OTHERS: [(&[u8], &str); 10] = [
        (b"fLaC", "a FLAC file"),
        (b"ID3", "an MP3 file"),
        (b"\xff\xfb", "an MP3 file"),
        (b"OggS", "an Ogg file"),
        (b"FORM", "an AIFF file"),
        (b"caff", "a CAF file"),
        (b"RIFX", "a big-endian RIFX file"),
        (b"riff", "a Wave64 file"),
        (b"NIST_1A", "a NIST SPHERE file"),
        (b"\x1aE\xdf\xa3", "a Matroska file"),
    ];
    let riff = matches!(bytes.get(..4), Some(b"RIFF" | b"RF64" | b"BW64"));
    if riff && bytes.get(8..12) == Some(b"WAVE") {
        return Ok(());
    }
    let expected = "a WAV file (RIFF or RF64, with the form WAVE)".to_string();
    let got = match OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, name)) => format!("{name}; decode it elsewhere and use Sound::new"),
        None if bytes.is_empty() => "an empty file".into(),
        None => {
            format!("a file that begins with {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(12)]))
        }
    };
    Err(Problem::Format { expected, got })
}

/// Name and size of the chunk at `at`.
fn header(bytes: &[u8], at: usize) -> Option<([u8; 4], u32)> {
    let header = bytes.get(at..)?.get(..8)?;
    Some((header[..4].try_into().ok()?, le(&header[4..]) as u32))
}

/// The start of the chunk that follows a chunk of `size` bytes. A chunk of odd size is followed by a pad byte, which
/// some programs forget.
fn next_chunk(bytes: &[u8], start: usize, size: Option<u64>) -> Option<usize> {
    let end = start.checked_add(usize::try_from(size?).ok()?)?;
    let named =
        |at: usize| header(bytes, at).is_some_and(|(id, _)| id.iter().all(|c| (b' '..=b'~').contains(c)));
    let odd = (end - start) % 2 == 1;
    Some(if odd && (named(end + 1) || !named(end)) { end + 1 } else { end })
}

/// The bytes of the `data` chunk. `body` has the stated size at most, `rest` reaches to the end of the file.
fn sample_bytes<'a>(
    size: Option<u64>,
    body: &'a [u8],
    rest: &'a [u8],
    warnings: &mut Vec<String>,
) -> &'a [u8] {
    match size {
        Some(0) if !rest.is_empty() && !are_chunks(rest) => {
            warnings.push(format!("the header states no samples; {} bytes follow and are read", rest.len()));
            rest
        }
        Some(size) if size > rest.len() as u64 => {
            warnings.push(format!(
                "the header states {size} bytes of samples; the file ends after {}",
                rest.len()
            ));
            rest
        }
        _ => body,
    }
}

/// Whether bytes are chunks up to the end of the file.
fn are_chunks(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some((id, size)) = header(bytes, at) {
        let known = id.iter().all(|c| (b' '..=b'~').contains(c));
        match next_chunk(bytes, at + 8, Some(size.into())) {
            Some(next) if known => at = next,
            _ => return false,
        }
    }
    // The last pad byte may be absent.
    at >= bytes.len() && at <= bytes.len() + 1
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A chunk with its pad byte.
    pub(crate) fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = [&id[..], &(body.len() as u32).to_le_bytes(), body].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }

    /// A `fmt ` chunk: tag, channels, samples a second, bytes of a frame, bits; then anything.
    pub(crate) fn fmt(tag: u16, channels: u16, rate: u32, frame: u16, bits: u16, more: &[u8]) -> Vec<u8> {
        let [tag, channels, frame, bits] = [tag, channels, frame, bits].map(u16::to_le_bytes);
        let per_second = rate.wrapping_mul(u16::from_le_bytes(frame).into()).to_le_bytes();
        chunk(b"fmt ", &[&tag[..], &channels, &rate.to_le_bytes(), &per_second, &frame, &bits, more].concat())
    }

    pub(crate) fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &body].concat()
    }

    /// Two channels of 16 bits at 8 kHz.
    pub(crate) fn stereo(samples: &[i16]) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        riff(&[fmt(1, 2, 8000, 4, 16, &[]), chunk(b"data", &data)])
    }

    fn mono() -> Vec<u8> {
        fmt(1, 1, 8000, 2, 16, &[])
    }

    /// Sample bytes and the number of warnings.
    fn data(bytes: &[u8]) -> (Vec<u8>, usize) {
        let wav = Wav::parse(bytes).unwrap();
        (wav.data.to_vec(), wav.warnings.len())
    }

    fn error(bytes: &[u8]) -> String {
        Wav::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn chunks_in_any_order_with_and_without_pad_bytes_around_the_samples() {
        let samples = [1, 2, 3, 4];
        let (list, odd) = (chunk(b"LIST", b"INFO"), chunk(b"note", b"odd"));
        let plain = chunk(b"data", &samples);
        for chunks in [
            vec![odd.clone(), mono(), list.clone(), plain.clone()],
            vec![plain.clone(), odd.clone(), mono()],
            vec![mono(), odd[..odd.len() - 1].to_vec(), plain.clone()],
            vec![mono(), plain.clone(), list.clone(), b"ID3\x04 and the rest".to_vec()],
            vec![mono(), plain.clone(), plain.clone()],
        ] {
            assert_eq!(data(&riff(&chunks)), (samples.to_vec(), 0), "{chunks:?}");
        }
        // Three bytes hold one sample of two.
        assert_eq!(data(&riff(&[mono(), chunk(b"data", &[1, 2, 3]), list])), (vec![1, 2], 1));
    }

    #[test]
    fn lengths_of_pipes_and_stopped_recorders() {
        let with =
            |size: u32, rest: &[u8]| riff(&[mono(), [&b"data"[..], &size.to_le_bytes(), rest].concat()]);
        assert_eq!(data(&with(u32::MAX, &[1, 2, 3, 4])), (vec![1, 2, 3, 4], 0));
        assert_eq!(data(&with(0, &[1, 2, 3, 4])), (vec![1, 2, 3, 4], 1));
        assert_eq!(data(&with(0x7fff_f000, &[1, 2, 3, 4])), (vec![1, 2, 3, 4], 1));
        assert_eq!(data(&with(6, &[1, 2, 3, 4, 5])), (vec![1, 2, 3, 4], 2));
        // No samples, then other chunks: the length is right.
        for after in [chunk(b"LIST", b"INFO"), [chunk(b"note", b"odd"), chunk(b"LIST", b"INFO")].concat()] {
            assert_eq!(data(&with(0, &after)), (vec![], 0));
        }
        assert_eq!(data(&with(0, &[])), (vec![], 0));
    }

    #[test]
    fn sizes_beyond_32_bits_are_in_the_ds64_chunk() {
        let long = |size: u64| {
            let ds64 = chunk(b"ds64", &[0u64.to_le_bytes(), size.to_le_bytes(), 2u64.to_le_bytes()].concat());
            let body =
                [&b"data"[..], &u32::MAX.to_le_bytes(), &[1, 2, 3, 4], &chunk(b"LIST", b"INFO")].concat();
            let mut bytes = riff(&[ds64, mono(), body]);
            bytes[..4].copy_from_slice(b"RF64");
            bytes
        };
        assert_eq!(data(&long(4)), (vec![1, 2, 3, 4], 0));
        // Never filled in: everything up to the end, which includes the last chunk.
        assert_eq!(data(&long(u64::MAX)).0.len(), 16);
        assert_eq!(data(&long(1 << 60)).1, 1);
    }

    #[test]
    fn other_files_are_named() {
        assert!(error(b"fLaC\0\0").contains("got a FLAC file; decode it elsewhere and use Sound::new"));
        assert!(error(b"RIFX").contains("big-endian") && error(b"").contains("an empty file"));
        assert!(error(b"RIFF\x04\0\0\0AVI LIST").contains("begins with \"RIFF"));
        assert!(error(&riff(&[mono()])).contains("`data` chunk, got chunks [\"fmt \"]"));
        assert!(error(&riff(&[chunk(b"data", &[0; 4])])).contains("`fmt ` chunk, got chunks [\"data\"]"));
        assert!(error(&riff(&[])).contains("got no chunk"));
    }
}
