//! Bytes with room behind them that can be written as a slice.

/// Bytes that grow by one image after the other. What lies behind those that count is initialised
/// ahead, in strides: an image is written into it as into any slice, and counted when it is whole.
#[derive(Debug, Default)]
pub(crate) struct ImageBuffer {
    /// Invariant: `filled <= bytes.len()`; what lies behind `filled` means nothing.
    bytes: Vec<u8>,
    filled: usize,
    /// Bytes that were initialised at once the last time, and were of use since.
    stride_bytes: usize,
}

/// Fewest and most bytes that are initialised at once.
const STRIDE_BYTES_MIN: usize = 256;
const STRIDE_BYTES_MAX: usize = 16 << 10;

impl ImageBuffer {
    /// Bytes that count.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// Bytes of memory.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes the memory so large, if it is smaller.
    pub(crate) fn reserve_to(&mut self, capacity: usize) {
        self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()));
    }

    /// What can be written.
    #[inline]
    pub(crate) fn free(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// All of [`ImageBuffer::free`] but its last `left` bytes count from now on.
    #[inline]
    pub(crate) fn fill_but(&mut self, left: usize) {
        self.filled = self.bytes.len().saturating_sub(left).max(self.filled);
    }

    /// Appends what there was no room for, and makes room for what comes behind it.
    #[cold]
    pub(crate) fn grow(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let stride_bytes = self.stride_bytes * 2;
        self.append(write);
        self.stride_bytes = stride_bytes.clamp(STRIDE_BYTES_MIN, STRIDE_BYTES_MAX);
        let room = self.bytes.capacity() - self.filled;
        self.bytes.resize(self.filled + room.min(self.stride_bytes), 0);
    }

    /// Appends what is written by appending. The room behind is given up: whoever does both in turn
    /// gets little of it.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.stride_bytes = 0;
        self.bytes.truncate(self.filled);
        write(&mut self.bytes);
        self.filled = self.bytes.len();
    }

    /// Those that count; none are left.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(std::mem::take(&mut self.filled));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::ImageBuffer;

    #[test]
    fn what_is_appended_and_what_is_written_in_place_follow_each_other() {
        let mut room = ImageBuffer::default();
        assert!(room.free().is_empty());
        room.grow(|bytes| bytes.extend_from_slice(b"one "));
        room.reserve_to(64);
        room.append(|bytes| bytes.extend_from_slice(b"two "));
        assert!(room.free().is_empty());
        room.grow(|bytes| bytes.extend_from_slice(b"three "));
        let free = room.free();
        free[..5].copy_from_slice(b"four!");
        let left = free.len() - 5;
        room.fill_but(left);
        assert_eq!(room.len(), 19);
        assert!(room.capacity() >= 64);
        room.append(|bytes| bytes.push(b'.'));
        assert_eq!(room.take(), b"one two three four!.");
        assert_eq!((room.len(), room.take()), (0, Vec::new()));
    }
}
