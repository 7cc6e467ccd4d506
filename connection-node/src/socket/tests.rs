//! The closing handshake, with a peer that sends and reads bytes.

use super::*;
use crate::test_node::tcp_pair;
use std::future::poll_fn;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const NOW: Moment = Moment(1_000_000);
const LIMITS: MessageLimits = MessageLimits { len_max: 1000, timeout: Duration::from_secs(30) };

/// A masked Close frame with code 1000, and the answer to it.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
const CLOSE_ANSWER: [u8; 4] = [0x88, 2, 0x03, 0xe8];

/// A Close frame with code 1001, as the server sends it.
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

async fn open() -> (Socket, TcpStream) {
    let (server, peer) = tcp_pair().await;
    (Socket::new(Stream::Plain(server), Bytes::new(), LIMITS), peer)
}

/// What comes in next.
async fn next(socket: &mut Socket) -> Incoming {
    poll_fn(|context| socket.poll_next(context, NOW, LIMITS)).await
}

/// Hands everything that is queued to the kernel.
async fn flush(socket: &mut Socket) {
    poll_fn(|context| socket.poll_flush(context, NOW)).await;
}

/// Exactly these bytes come to the peer next.
async fn receives(peer: &mut TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    peer.read_exact(&mut received).await.unwrap();
    assert_eq!(received, bytes);
}

/// The peer's stream ends.
async fn ends(peer: &mut TcpStream) {
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_peers_close_is_answered_when_the_conversation_is_over() {
    let (mut socket, mut peer) = open().await;
    peer.write_all(&CLOSE).await.unwrap();
    assert_eq!(next(&mut socket).await, Incoming::Closed);
    assert!(!socket.is_open() && !socket.has_ended());
    assert_eq!(socket.deadline(), Some(NOW + CLOSE_TIMEOUT));
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(socket.poll_next(&mut context, NOW, LIMITS).is_pending());
    assert!(socket.poll_flush(&mut context, NOW).is_pending());
    // Ours comes too late.
    socket.close(CloseCode::GoingAway, NOW, LIMITS);
    socket.finish();
    assert!(!socket.has_ended());
    flush(&mut socket).await;
    assert!(socket.is_done());
    assert_eq!(socket.deadline(), None);
    drop(socket);
    receives(&mut peer, &CLOSE_ANSWER).await;
    ends(&mut peer).await;
}

#[tokio::test]
async fn our_close_waits_for_the_peers() {
    let (mut socket, mut peer) = open().await;
    socket.send("last".into());
    socket.close(CloseCode::GoingAway, NOW, LIMITS);
    // A handshake has begun already, so this changes nothing.
    socket.close(CloseCode::Error, NOW, LIMITS);
    socket.finish();
    flush(&mut socket).await;
    assert!(!socket.is_open() && !socket.has_ended());
    assert_eq!(socket.deadline(), Some(NOW + CLOSE_TIMEOUT));
    receives(&mut peer, b"\x81\x04last").await;
    receives(&mut peer, &GOING_AWAY).await;
    // Sent before the peer saw our Close frame.
    peer.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    peer.write_all(&CLOSE).await.unwrap();
    assert_eq!(next(&mut socket).await, Incoming::Ended);
    assert!(socket.is_done());
}

#[tokio::test]
async fn a_peer_that_broke_the_protocol_gets_a_close_frame_and_the_end_of_the_stream() {
    for (bytes, code) in [
        (&[0x81, 0x00][..], CloseCode::Protocol),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], CloseCode::Invalid),
        (&[0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0], CloseCode::TooBig),
    ] {
        let (mut socket, mut peer) = open().await;
        peer.write_all(bytes).await.unwrap();
        assert_eq!(next(&mut socket).await, Incoming::Broken(code));
        assert!(!socket.is_open());
        socket.close(code, NOW, LIMITS);
        flush(&mut socket).await;
        let [high, low] = code.number().to_be_bytes();
        receives(&mut peer, &[0x88, 2, high, low]).await;
        ends(&mut peer).await;
        assert_eq!(socket.deadline(), Some(NOW + CLOSE_TIMEOUT));
        // Even a Close frame is not understood any more.
        peer.write_all(&CLOSE).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_eq!(next(&mut socket).await, Incoming::Ended);
        assert!(socket.has_ended());
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_close_frame_ends_the_socket() {
    let (mut socket, peer) = open().await;
    drop(peer);
    assert_eq!(next(&mut socket).await, Incoming::Ended);
    assert!(socket.has_ended() && !socket.is_done());
    socket.finish();
    assert!(socket.is_done());
    assert_eq!(socket.deadline(), None);
}

#[tokio::test]
async fn a_peer_that_does_not_drain_its_socket_has_a_deadline_that_moves_with_each_byte() {
    let (mut socket, mut peer) = open().await;
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut queued = 0;
    while socket.deadline().is_none() {
        socket.send("x".repeat(60_000));
        queued += 1;
        assert!(queued < 2000, "the kernel's buffers are larger than this test assumes");
        let _ = socket.poll_flush(&mut context, NOW);
    }
    assert_eq!(socket.deadline(), Some(NOW + STALL_TIMEOUT));
    let later = NOW + STALL_TIMEOUT / 2;
    assert!(socket.poll_flush(&mut context, later).is_pending());
    assert_eq!(socket.deadline(), Some(NOW + STALL_TIMEOUT), "the kernel has taken nothing");
    let mut bytes = vec![0; 1_000_000];
    poll_fn(|context| {
        while Pin::new(&mut peer).poll_read(context, &mut ReadBuf::new(&mut bytes)).is_ready() {}
        let _ = socket.poll_flush(context, later);
        if socket.deadline() == Some(NOW + STALL_TIMEOUT) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    assert!([None, Some(later + STALL_TIMEOUT)].contains(&socket.deadline()));
    assert!(!socket.end_if_overdue(NOW + STALL_TIMEOUT));
    poll_fn(|context| {
        while Pin::new(&mut peer).poll_read(context, &mut ReadBuf::new(&mut bytes)).is_ready() {}
        let _ = socket.poll_flush(context, later);
        if socket.is_at_rest() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_socket_ends_at_its_deadline() {
    let (mut socket, _peer) = open().await;
    assert!(!socket.end_if_overdue(Moment(u64::MAX)));
    socket.close(CloseCode::Normal, NOW, LIMITS);
    assert!(!socket.end_if_overdue(Moment(NOW.0 + 4_999)));
    assert!(socket.end_if_overdue(NOW + CLOSE_TIMEOUT));
    assert!(socket.has_ended());
    assert!(!socket.end_if_overdue(Moment(u64::MAX)));
}

/// A frame of a text message with this first byte and this many bytes, masked with zeros.
fn frame(first: u8, len: u8) -> Vec<u8> {
    [&[first, 0x80 | len, 0, 0, 0, 0][..], &vec![b'a'; usize::from(len)]].concat()
}

#[tokio::test]
async fn a_message_has_a_time_from_its_first_byte_to_its_last() {
    let (mut socket, mut peer) = open().await;
    let poll = |socket: &mut Socket, now: Moment| {
        let mut context = Context::from_waker(std::task::Waker::noop());
        socket.poll_next(&mut context, now, LIMITS)
    };
    peer.write_all(&frame(0x01, 5)).await.unwrap();
    socket.stream.tcp().readable().await.unwrap();
    assert!(poll(&mut socket, NOW).is_pending());
    assert_eq!(socket.deadline(), Some(NOW + LIMITS.timeout));
    // Frames of other kinds, and further fragments, give it no more time.
    peer.write_all(&[frame(0x89, 3), frame(0x00, 5)].concat()).await.unwrap();
    socket.stream.tcp().readable().await.unwrap();
    let later = NOW + Duration::from_secs(29);
    while poll(&mut socket, later).is_ready() {}
    assert_eq!(socket.deadline(), Some(NOW + LIMITS.timeout));
    assert!(!socket.is_message_overdue(later) && socket.is_message_overdue(NOW + LIMITS.timeout));
    // While nothing is read, the peer is not to blame.
    socket.pause();
    assert_eq!(socket.deadline(), None);
    peer.write_all(&frame(0x80, 5)).await.unwrap();
    assert_eq!(next(&mut socket).await, Incoming::Text("a".repeat(15).into()));
    flush(&mut socket).await;
    assert!(poll(&mut socket, later).is_pending());
    assert!(socket.is_at_rest());
}

#[tokio::test]
async fn the_limit_of_a_message_may_change_while_one_comes_in() {
    let (mut socket, mut peer) = open().await;
    peer.write_all(&frame(0x01, 50)).await.unwrap();
    socket.stream.tcp().readable().await.unwrap();
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(socket.poll_next(&mut context, NOW, LIMITS).is_pending());
    peer.write_all(&frame(0x80, 60)).await.unwrap();
    let shorter = MessageLimits { len_max: 100, ..LIMITS };
    let incoming = poll_fn(|context| socket.poll_next(context, NOW, shorter)).await;
    assert_eq!(incoming, Incoming::Broken(CloseCode::TooBig));
}
