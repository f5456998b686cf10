//! Sample formats of WAV files: the `fmt ` chunk, and bytes as numbers.

use crate::data::error::Problem;

/// The `fmt ` chunk.
#[derive(Debug, PartialEq)]
pub(super) struct Format {
    coding: Coding,
    pub(super) channels: usize,
    pub(super) rate: u32,
    /// Bytes of one sample of one channel.
    bytes: usize,
    /// Bits of a sample that are not used.
    unused: usize,
    /// Whether these are the highest bits, against the specification.
    low: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Integer,
    Float,
    ALaw,
    MuLaw,
}

/// The format tag whose true tag is the start of a GUID.
const EXTENSIBLE: u64 = 0xfffe;
/// The rest of the GUIDs of the tags below: KSDATAFORMAT_SUBTYPE, and the same for B-format channels.
const GUIDS: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];

impl Format {
    /// Reads the chunk. Bytes beyond those of the tag do not count, since programs append various ones.
    pub(super) fn parse(chunk: &[u8]) -> Result<Self, Problem> {
        let field = |from: usize, bytes: usize| chunk.get(from..from + bytes).map(le);
        let wrong = |expected: &str, got: String| Problem::Format { expected: expected.into(), got };
        let short = |bytes: usize| {
            wrong(&format!("a `fmt ` chunk of at least {bytes} bytes"), chunk.len().to_string())
        };
        let (Some(mut tag), Some(channels), Some(rate), Some(block), Some(bits)) =
            (field(0, 2), field(2, 2), field(4, 4), field(12, 2), field(14, 2))
        else {
            return Err(short(16));
        };
        let extensible = tag == EXTENSIBLE;
        let mut valid = bits;
        if extensible {
            let guid = chunk.get(26..40).ok_or_else(|| short(40))?;
            if !GUIDS.iter().any(|known| known == guid) {
                return Err(wrong(
                    "a known sub-format of WAVE_FORMAT_EXTENSIBLE",
                    format!("GUID {:02x?}", &chunk[24..40]),
                ));
            }
            // 0 stands for all bits.
            valid = field(18, 2).filter(|&valid| valid != 0).unwrap_or(bits);
            tag = le(&chunk[24..26]);
        }
        if channels == 0 || rate == 0 {
            return Err(wrong(
                "at least one channel and one sample a second",
                format!("{channels} channels at {rate} Hz"),
            ));
        }
        let bytes = if block % channels == 0 { block / channels } else { 0 };
        // An extensible format may state a larger container than its bits need.
        let fits = if extensible { bits <= 8 * bytes } else { bits.div_ceil(8) == bytes };
        if !fits || bits == 0 || valid > bits {
            let expected = "bits that agree with the size of a frame (block align)";
            let got = format!("{valid} of {bits} bits, {channels} channels, frames of {block} bytes");
            return Err(wrong(expected, got));
        }
        let coding = match (tag, bytes) {
            (1, 1..=8) => Coding::Integer,
            (3, 4 | 8) => Coding::Float,
            (6, 1) => Coding::ALaw,
            (7, 1) => Coding::MuLaw,
            _ => {
                let expected = "integers up to 64 bits, floats of 32 or 64, A-law or mu-law";
                return Err(wrong(expected, format!("format {tag:#06x}{} of {bits} bits", named(tag))));
            }
        };
        let (channels, bytes, unused) = (channels as usize, bytes as usize, (8 * bytes - valid) as usize);
        Ok(Format { coding, channels, rate: rate as u32, bytes, unused, low: false })
    }

    /// Finds out whether the samples use the lowest bits of their bytes. The specification says the highest, but some
    /// programs, `hound` among them, write the lowest. Samples that have something in the lower bits, while all of them
    /// fit into so many bits, can be nothing else. Returns what a warning says.
    pub(super) fn find_alignment(&mut self, data: &[u8]) -> Option<String> {
        if self.coding != Coding::Integer || self.bytes == 1 || self.unused == 0 {
            return None;
        }
        let high = 64 - 8 * self.bytes;
        let number = |sample: &[u8]| ((le(sample) << high) as i64) >> high;
        let limit = 1i64 << (8 * self.bytes - self.unused - 1);
        let mut numbers = data.chunks_exact(self.bytes).map(number);
        let lower = data.chunks_exact(self.bytes).any(|sample| le(sample) << (64 - self.unused) != 0);
        self.low = lower && numbers.all(|number| (-limit..limit).contains(&number));
        let bits = 8 * self.bytes - self.unused;
        self.low.then(|| {
            format!("the {bits} bits of a sample are the lowest of {}, not the highest", 8 * self.bytes)
        })
    }

    /// Bytes of one sample of every channel.
    pub(super) fn frame_bytes(&self) -> usize {
        self.bytes * self.channels
    }

    /// The samples of a frame, full scale as 1. Fewer valid bits than a container has are its highest ones, so that
    /// they do not change the scale.
    pub(super) fn samples<'a>(&'a self, frame: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        frame.chunks_exact(self.bytes).map(|sample| match self.coding {
            // Integers of one byte are unsigned.
            Coding::Integer if self.bytes == 1 => (f32::from(sample[0]) - 128.0) / 128.0,
            Coding::Integer => {
                let unused = if self.low { self.unused } else { 0 };
                let aligned = (le(sample) << (64 - 8 * self.bytes + unused)) as i64;
                (aligned as f64 / (1u64 << 63) as f64) as f32
            }
            Coding::Float if self.bytes == 8 => f64::from_bits(le(sample)) as f32,
            Coding::Float => f32::from_bits(le(sample) as u32),
            Coding::ALaw => f32::from(a_law(sample[0])) / 32768.0,
            Coding::MuLaw => f32::from(mu_law(sample[0])) / 32768.0,
        })
    }
}

/// A little-endian number of at most 8 bytes.
pub(super) fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn named(tag: u64) -> &'static str {
    match tag {
        0x02 | 0x11 => " (ADPCM)",
        0x31 => " (GSM 6.10)",
        0x50 | 0x55 => " (MPEG audio)",
        _ => "",
    }
}

/// ITU-T G.711, A-law, as a 16 bit sample.
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (segment, step) = (byte >> 4 & 7, i16::from(byte & 15) << 4);
    let size = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
    if byte & 0x80 == 0 { -size } else { size }
}

/// ITU-T G.711, mu-law, as a 16 bit sample.
fn mu_law(byte: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let byte = !byte;
    let size = ((i16::from(byte & 15) << 3) + BIAS) << (byte >> 4 & 7);
    if byte & 0x80 == 0 { size - BIAS } else { BIAS - size }
}

#[cfg(test)]
mod tests {
    use super::super::wav::tests::fmt;
    use super::*;

    fn parse(tag: u16, channels: u16, frame: u16, bits: u16, more: &[u8]) -> Result<Format, Problem> {
        Format::parse(&fmt(tag, channels, 8000, frame, bits, more)[8..])
    }

    /// The extension of a format: valid bits, channel mask, tag.
    fn extension(valid: u16, tag: u16) -> Vec<u8> {
        let [size, valid, tag] = [22, valid, tag].map(u16::to_le_bytes);
        [&size[..], &valid, &[0; 4], &tag, &GUIDS[0]].concat()
    }

    fn decoded(format: Result<Format, Problem>, bytes: &[u8]) -> Vec<f32> {
        format.unwrap().samples(bytes).collect()
    }

    #[test]
    fn integers_and_floats_of_every_width() {
        assert_eq!(decoded(parse(1, 1, 1, 8, &[]), &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(decoded(parse(1, 1, 2, 16, &[]), &[0, 0x80, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(decoded(parse(1, 1, 3, 24, &[]), &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(decoded(parse(1, 1, 4, 32, &[]), &[0, 0, 0, 0x80, 0, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(decoded(parse(1, 1, 8, 64, &[]), &(1i64 << 62).to_le_bytes()), [0.5]);
        assert_eq!(decoded(parse(3, 1, 4, 32, &[]), &0.1f32.to_le_bytes()), [0.1]);
        assert_eq!(decoded(parse(3, 1, 8, 64, &[]), &(-0.25f64).to_le_bytes()), [-0.25]);
        // Twelve bits are the highest ones of sixteen.
        assert_eq!(decoded(parse(1, 1, 2, 12, &[]), &[0, 0x40]), [0.5]);
    }

    #[test]
    fn fewer_valid_bits_do_not_change_the_scale() {
        for (bits, valid) in [(32, 24), (32, 20), (32, 32), (32, 0), (24, 24)] {
            let format = parse(0xfffe, 1, 4, bits, &extension(valid, 1));
            assert_eq!(decoded(format, &[0, 0, 0, 0x40, 0, 0, 0, 0xc0]), [0.5, -0.5], "{valid} of {bits}");
        }
        let float = parse(0xfffe, 2, 8, 32, &extension(32, 3));
        let bytes = [0.5f32, -2.0].map(f32::to_le_bytes).concat();
        assert_eq!(decoded(float, &bytes), [0.5, -2.0]);
    }

    #[test]
    fn bits_at_the_wrong_end_are_found() {
        let bytes =
            |samples: &[i32]| samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
        for (samples, low) in [
            // The lowest 24 bits: a quiet sound, and a loud one.
            (&[1, -3][..], true),
            (&[0x40_0001, -0x80_0000], true),
            // The highest 24 bits: the lowest byte is 0, or some sample has more than 24 bits.
            (&[0x100, -0x100], false),
            (&[1, 0x4000_0000], false),
        ] {
            let mut format = parse(0xfffe, 1, 4, 32, &extension(24, 1)).unwrap();
            assert_eq!(format.find_alignment(&bytes(samples)).is_some(), low, "{samples:?}");
            let scale = if low { 8_388_608.0 } else { 2_147_483_648.0 };
            let decoded: Vec<f32> = format.samples(&bytes(samples)).collect();
            assert_eq!(decoded, samples.iter().map(|&sample| sample as f32 / scale).collect::<Vec<_>>());
        }
    }

    #[test]
    fn float_formats_of_any_length() {
        for more in [&[][..], &[0, 0], &[22; 24], &[0; 34]] {
            assert_eq!(decoded(parse(3, 1, 4, 32, more), &0.5f32.to_le_bytes()), [0.5]);
        }
    }

    /// Values from the tables of ITU-T G.711, times 8 (A-law) and 4 (mu-law).
    #[test]
    fn telephone_samples() {
        let of = |tag, bytes: &[u8]| decoded(parse(tag, 1, 1, 8, &[]), bytes);
        assert_eq!(
            of(6, &[0xd5, 0x55, 0xaa, 0x2a, 0x80]),
            [8, -8, 32256, -32256, 5504].map(|x| x as f32 / 32768.0)
        );
        assert_eq!(
            of(7, &[0xff, 0x7f, 0x80, 0x00, 0xf0]),
            [0, 0, 32124, -32124, 120].map(|x| x as f32 / 32768.0)
        );
    }

    #[test]
    fn contradictions_are_named() {
        let error = |format: Result<Format, Problem>| format.unwrap_err().to_string();
        assert!(error(parse(1, 0, 2, 16, &[])).contains("got 0 channels at 8000 Hz"));
        assert!(error(Format::parse(&fmt(1, 1, 0, 2, 16, &[])[8..])).contains("got 1 channels at 0 Hz"));
        for (channels, frame, bits) in [(2, 2, 16), (1, 0, 16), (2, 3, 16), (1, 2, 0), (1, 4, 24), (1, 2, 17)]
        {
            let text = error(parse(1, channels, frame, bits, &[]));
            assert!(
                text.contains("size of a frame") && text.contains(&format!("frames of {frame} bytes")),
                "{text}"
            );
        }
        assert!(error(parse(0xfffe, 1, 2, 16, &extension(17, 1))).contains("17 of 16 bits"));
        assert!(error(parse(0xfffe, 1, 2, 16, &[0; 2])).contains("at least 40 bytes, got 18"));
        assert!(error(parse(0xfffe, 1, 2, 16, &[0; 24])).contains("GUID [00, "));
        assert!(error(parse(2, 1, 1, 4, &[])).contains("0x0002 (ADPCM) of 4 bits"));
        assert!(error(parse(3, 1, 2, 16, &[])).contains("0x0003 of 16 bits"));
        assert!(error(parse(1, 1, 9, 72, &[])).contains("of 72 bits"));
        assert!(error(Format::parse(&[1; 15])).contains("at least 16 bytes, got 15"));
    }
}
