//! Logs: files that a process writes to directly, whose use of the disk is bounded by cutting off the head.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom as HoleSeek, fallocate, seek};

/// Most bytes that the log of one attempt may occupy on the disk, for longer than a second; with the usual concurrency
/// of a machine this stays within some gigabytes.
pub const MAX_LOG_BYTES: u64 = 64 << 20;

/// File systems manage space in blocks of at most this size; a hole that ends elsewhere would leave zeros behind.
const BLOCK: u64 = 4096;

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The text, which may begin and end within a line.
    pub bytes: Vec<u8>,
    /// Where the next piece begins; the same as asked when there is nothing new.
    pub next: u64,
    /// How many bytes were cut off between what was asked and `bytes`.
    pub skipped: u64,
}

/// Reads at most `max` bytes of a log from a position on. A log that is not there (yet) is empty.
pub fn read_log(path: &Path, from: u64, max: usize) -> io::Result<LogChunk> {
    let nothing = |next, skipped| LogChunk { bytes: Vec::new(), next, skipped };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing(from, 0)),
        other => other?,
    };
    let end = file.metadata()?.len();
    // A file system without holes had the whole log cut off; what is there now was written since.
    let mut start = if from > end { 0 } else { from };
    loop {
        let asked = start;
        match seek(&file, HoleSeek::Data(start)) {
            Ok(data) => start = data,
            Err(rustix::io::Errno::NXIO) => return Ok(nothing(end, end - start.min(end))),
            // The file system knows no holes.
            Err(_) => start = file.seek(SeekFrom::Start(start))?,
        }
        let mut bytes = Vec::new();
        file.by_ref().take(max as u64).read_to_end(&mut bytes)?;
        let next = start + bytes.len() as u64;
        // Blocks larger than ours leave zeros between the hole and the text.
        let zeros = if start > asked || start == 0 { bytes.iter().take_while(|byte| **byte == 0).count() } else { 0 };
        if zeros > 0 && zeros == bytes.len() && next < end {
            start = next;
            continue;
        }
        bytes.drain(..zeros);
        let skipped = (start + zeros as u64).saturating_sub(from);
        return Ok(LogChunk { bytes, next, skipped });
    }
}

/// Cuts off the head of a log that occupies more than `max` bytes, so that half of them, the newest, are left.
pub fn cap(path: &Path, max: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let meta = file.metadata()?;
    // `blocks` are of 512 bytes whatever the file system has.
    if meta.blocks() * 512 <= max {
        return Ok(());
    }
    let hole = meta.len().saturating_sub(max / 2) / BLOCK * BLOCK;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Processes append, so that after cutting off everything they go on at the start.
    if hole > 0 && fallocate(&file, punch, 0, hole).is_ok() { Ok(()) } else { file.set_len(0) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_capped_log_keeps_its_tail_and_says_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines: String = (0..200_000).map(|i| format!("{i:09}\n")).collect();
        fs::write(&path, &lines).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        cap(&path, 1 << 20).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert!(meta.blocks() * 512 <= 1 << 20, "{} blocks", meta.blocks());
        let chunk = read_log(&path, 0, usize::MAX >> 1).unwrap();
        assert_eq!(chunk.skipped + chunk.bytes.len() as u64, lines.len() as u64);
        assert!(chunk.skipped > 0 && lines.as_bytes().ends_with(&chunk.bytes));
        assert!(chunk.bytes.len() >= 500_000, "{}", chunk.bytes.len());
        assert_eq!(chunk.next, lines.len() as u64);
        let rest = read_log(&path, chunk.next - 10, 100).unwrap();
        assert_eq!((rest.bytes.as_slice(), rest.skipped), (b"000199999\n".as_slice(), 0));
    }

    #[test]
    fn a_log_is_followed_in_pieces_and_may_be_missing_or_start_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(read_log(&path, 5, 10).unwrap(), LogChunk { bytes: vec![], next: 5, skipped: 0 });
        fs::write(&path, "abcdef").unwrap();
        let first = read_log(&path, 0, 4).unwrap();
        assert_eq!((first.bytes.as_slice(), first.next), (b"abcd".as_slice(), 4));
        let second = read_log(&path, first.next, 4).unwrap();
        assert_eq!((second.bytes.as_slice(), second.next), (b"ef".as_slice(), 6));
        assert_eq!(read_log(&path, 6, 4).unwrap(), LogChunk { bytes: vec![], next: 6, skipped: 0 });
        fs::write(&path, "new").unwrap();
        assert_eq!(read_log(&path, 6, 4).unwrap().bytes, b"new");
    }
}
