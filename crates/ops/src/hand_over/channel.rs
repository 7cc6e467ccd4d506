//! Frames with open files between two processes of this machine, over a Unix socket.

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};
use tokio::{io::Interest, net::UnixStream};

/// Most open files in one frame: as many as the kernel takes at once (`SCM_MAX_FD`).
pub const FILES_MAX: usize = 253;

/// The longest frame, in bytes.
pub const FRAME_LEN_MAX: usize = 4 * 1024 * 1024;

/// Length of a frame and number of its files, before the frame.
const HEAD_LEN: usize = 6;

/// What is read at once.
const READ_LEN: usize = 64 * 1024;

/// Room for the files of one frame.
const CONTROL_LEN: usize = rustix::cmsg_space!(ScmRights(FILES_MAX));

/// One end. Frames arrive whole, once and in order, or the other end is gone.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// What was read and belongs to no frame that was returned.
    bytes: Vec<u8>,
    files: VecDeque<OwnedFd>,
}

/// A frame, and the files that came with it.
#[derive(Debug)]
pub struct Received {
    /// The frame.
    pub frame: Vec<u8>,
    /// Its files, in the order in which they were sent.
    pub files: Vec<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), files: VecDeque::new() }
    }

    /// The process at the other end, if the kernel knows it: in another PID namespace it does not.
    pub fn peer_process(&self) -> Option<u32> {
        let pid = self.stream.peer_cred().ok()?.pid()?;
        u32::try_from(pid).ok().filter(|pid| *pid != 0)
    }

    /// Sends a frame with open files, which stay open here. Not cancel safe: after a time limit the channel has to be dropped.
    ///
    /// # Errors
    /// The other end is gone, or the frame is too long.
    pub async fn send(&mut self, frame: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        if frame.len() > FRAME_LEN_MAX || files.len() > FILES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bytes = encode(frame, files.len());
        let mut sent = 0;
        while sent < bytes.len() {
            // They go with the first byte.
            let files = if sent == 0 { files } else { &[] };
            let write = || send_once(&self.stream, &bytes[sent..], files).map_err(io::Error::from);
            sent += self.stream.async_io(Interest::WRITABLE, write).await?;
        }
        Ok(())
    }

    /// The next frame; `None` if the other end has ended between two frames. Cancel safe.
    ///
    /// # Errors
    /// The other end has ended within a frame, or is not a process of this program.
    pub async fn receive(&mut self) -> io::Result<Option<Received>> {
        loop {
            if let Some(received) = self.take()? {
                return Ok(Some(received));
            }
            let (bytes, files) = (&mut self.bytes, &mut self.files);
            let stream = &self.stream;
            let read = || receive_once(stream, bytes, files);
            if stream.async_io(Interest::READABLE, read).await? == 0 {
                let is_between = self.bytes.is_empty() && self.files.is_empty();
                return if is_between { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Takes a frame that is there whole.
    fn take(&mut self) -> io::Result<Option<Received>> {
        let taken = take(&mut self.bytes, &mut self.files)?;
        Ok(taken.map(|(frame, files)| Received { frame, files }))
    }
}

/// Takes a frame off the front, if it is there whole, and its files.
pub(super) fn take<F>(bytes: &mut Vec<u8>, files: &mut VecDeque<F>) -> io::Result<Option<(Vec<u8>, Vec<F>)>> {
    let Some((&head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
    let [a, b, c, d, e, f] = head;
    let frame_len = u32::from_le_bytes([a, b, c, d]) as usize;
    let files_len = usize::from(u16::from_le_bytes([e, f]));
    if frame_len > FRAME_LEN_MAX || files_len > FILES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let Some(frame) = rest.get(..frame_len) else { return Ok(None) };
    // Those of a frame come with its first byte, so they are all there.
    if files_len > files.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (frame, files) = (frame.to_vec(), files.drain(..files_len).collect());
    bytes.drain(..HEAD_LEN + frame_len);
    Ok(Some((frame, files)))
}

/// A frame with so many files as it is sent. Both are within the limits.
pub(super) fn encode(frame: &[u8], files_len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_LEN + frame.len());
    bytes.extend((frame.len() as u32).to_le_bytes());
    bytes.extend((files_len as u16).to_le_bytes());
    bytes.extend(frame);
    bytes
}

fn send_once(stream: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

fn receive_once(
    stream: &UnixStream,
    bytes: &mut Vec<u8>,
    files: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = vec![0; READ_LEN];
    let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    // The kernel has closed files, because this process may not have more.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("some open files did not arrive: the limit of open files is too low"));
    }
    bytes.extend_from_slice(&buffer[..received.bytes]);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        io::{Read as _, Seek as _, Write as _},
        os::fd::AsFd as _,
    };

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    #[tokio::test]
    async fn frames_arrive_with_their_files() {
        let (mut sender, mut receiver) = pair();
        let files: Vec<File> = (0..FILES_MAX as u32)
            .map(|number| {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&number.to_le_bytes()).unwrap();
                file
            })
            .collect();
        let sending = async {
            // Longer than the buffer of the socket.
            for length in [0, 1, FRAME_LEN_MAX] {
                let borrowed: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
                sender.send(&vec![7; length], &borrowed).await.unwrap();
                sender.send(b"none", &[]).await.unwrap();
            }
            drop(sender);
        };
        let receiving = async {
            for length in [0, 1, FRAME_LEN_MAX] {
                let received = receiver.receive().await.unwrap().unwrap();
                assert_eq!((received.frame.len(), received.files.len()), (length, FILES_MAX));
                for (number, file) in (0_u32..).zip(received.files) {
                    let (mut file, mut bytes) = (File::from(file), [0; 4]);
                    file.rewind().unwrap();
                    file.read_exact(&mut bytes).unwrap();
                    assert_eq!(u32::from_le_bytes(bytes), number);
                }
                let received = receiver.receive().await.unwrap().unwrap();
                assert_eq!((received.frame.as_slice(), received.files.len()), (&b"none"[..], 0));
            }
            assert!(receiver.receive().await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error() {
        let (mut sender, mut receiver) = pair();
        assert!(sender.send(&vec![0; FRAME_LEN_MAX + 1], &[]).await.is_err());
        sender.stream.try_write(b"GET / HTTP/1.1\r\n").unwrap();
        assert_eq!(receiver.receive().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (sender, mut receiver) = pair();
        sender.stream.try_write(&[9, 0, 0, 0, 0, 0, 1]).unwrap();
        drop(sender);
        assert_eq!(receiver.receive().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
