//! Fuzz target for the frames between two processes.

use super::channel::{encode, take};
use std::io;

/// Frames with open files, which are numbers here. The first two bytes are how many files there are, and the length of the
/// pieces in which the frames arrive.
///
/// It does not matter how long the pieces are. What was read is what comes when it is sent again, and every file comes once
/// and in order.
pub fn hand_over_frames(data: &[u8]) {
    let Some(([files_len, piece_len], bytes)) = data.split_first_chunk() else { return };
    let (whole, whole_failed) = read(bytes, bytes.len(), *files_len);
    let (in_pieces, failed) = read(bytes, usize::from(*piece_len), *files_len);
    assert_eq!(whole, in_pieces);
    assert_eq!(whole_failed, failed);
    let sent: Vec<u8> = whole.iter().flat_map(|(frame, files)| encode(frame, files.len())).collect();
    assert!(bytes.starts_with(&sent));
    let files: Vec<u8> = whole.iter().flat_map(|(_, files)| files).copied().collect();
    assert!(files.iter().copied().eq((0..*files_len).take(files.len())));
}

/// A frame, and its files.
type Frame = (Vec<u8>, Vec<u8>);

/// The frames in bytes that arrive in pieces, and why reading has ended before the end of the bytes.
fn read(bytes: &[u8], piece_len: usize, files_len: u8) -> (Vec<Frame>, Option<io::ErrorKind>) {
    let (mut arrived, mut files, mut frames) = (Vec::new(), (0..files_len).collect(), Vec::new());
    for piece in bytes.chunks(piece_len.max(1)) {
        arrived.extend(piece);
        loop {
            match take::<u8>(&mut arrived, &mut files) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.kind())),
            }
        }
    }
    (frames, None)
}
