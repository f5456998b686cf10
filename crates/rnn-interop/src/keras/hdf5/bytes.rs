//! Checked reading of little-endian fields.

/// Little-endian fields, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.number().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.number().map(u64::from_le_bytes)
    }
}

/// The bytes of a file from an address on.
pub(super) fn from(file: &[u8], address: u64) -> Option<&[u8]> {
    file.get(usize::try_from(address).ok()?..)
}

/// `length` bytes of a file at an address.
pub(super) fn part(file: &[u8], address: u64, length: u64) -> Option<&[u8]> {
    from(file, address)?.get(..usize::try_from(length).ok()?)
}

/// How many bytes of structures may still be read.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(file: &[u8]) -> Self {
        Budget(file.len())
    }

    /// Takes the size of a structure.
    ///
    /// # Errors
    /// More was read than the file holds: structures overlap.
    pub(super) fn spend(&mut self, size: usize) -> Result<(), String> {
        let overlap = "the HDF5 file is damaged: its structures overlap or form a cycle";
        self.0 = self.0.checked_sub(size).ok_or(overlap)?;
        Ok(())
    }
}
