//! What is pending for a node, driven by hand: no socket, no clock.

use super::*;
use beckon_types::{
    Cause, ChannelId, Draft, Encoding, KeyId, Message, Nonce, Payload, Place, Sequence, Update, Urgency,
    Version,
};
use bytes::Bytes;
use std::{sync::Arc, task::Wake, time::Duration};
use tokio::sync::oneshot::Receiver;

const NODE: NodeId = NodeId(7);
const LATE: Moment = Moment(1000);

type Answer = Receiver<Result<Receipt, Undelivered>>;

/// A [`Pending`], driven by hand.
struct Bench {
    pending: Pending,
    stream: u64,
    metrics: Metrics,
}

impl Bench {
    /// A stream that is being opened.
    fn opening() -> Self {
        let metrics = Metrics::default();
        let mut pending = Pending::new(NODE, metrics.clone());
        let stream = pending.next_stream();
        Self { pending, stream, metrics }
    }

    /// A stream that works.
    fn open() -> Self {
        let mut bench = Self::opening();
        bench.pending.opened();
        bench
    }

    fn offer(&mut self, connection: u64) -> Result<Answer, Undelivered> {
        self.offer_data(connection, None)
    }

    fn offer_data(&mut self, connection: u64, data: Option<Arc<str>>) -> Result<Answer, Undelivered> {
        let update = Update {
            channel: ChannelId([1; 16]),
            version: Version::new(1).unwrap(),
            sequence: Sequence(1),
            data,
        };
        self.offer_notification(connection, Notification::Update(update))
    }

    fn offer_body(&mut self, connection: u64, body: Bytes) -> Result<Answer, Undelivered> {
        let message = Message {
            channel: ChannelId([1; 16]),
            place: Place { sequence: Sequence(1), nonce: Nonce(1), topic: None },
            key: KeyId(1),
            draft: Draft {
                urgency: Urgency::Normal,
                ttl: Duration::from_secs(60),
                payload: Some(Payload { encoding: Encoding::Aes128gcm, body }),
            },
        };
        self.offer_notification(connection, Notification::Message(message))
    }

    fn offer_notification(
        &mut self,
        connection: u64,
        notification: Notification,
    ) -> Result<Answer, Undelivered> {
        let to = Presence { node: NODE, connection: ConnectionId(connection) };
        let parcel = Parcel { to, notification, previous: None, cause: Cause::default() };
        let (reply, answer) = oneshot::channel();
        self.pending.offer(parcel, LATE, reply).map(|_| answer)
    }

    /// The tags, connections and kinds (update, message or nudge) of the next request.
    fn take(&mut self) -> Vec<(u64, u64, char)> {
        self.take_after(Duration::ZERO)
    }

    /// Like `take`, this long after the parcels were offered.
    fn take_after(&mut self, wait: Duration) -> Vec<(u64, u64, char)> {
        let request = self.pending.take_request(self.stream, LATE + wait).unwrap();
        let kind = |parcel: &wire::Parcel| match parcel.notification {
            Some(wire::parcel::Notification::Update(_)) => 'u',
            Some(wire::parcel::Notification::Message(_)) => 'm',
            Some(wire::parcel::Notification::Missed(_)) => 'n',
            None => '?',
        };
        let parcels = request.map(|request| request.parcels).unwrap_or_default();
        parcels.iter().map(|parcel| (parcel.tag, parcel.connection, kind(parcel))).collect()
    }

    /// The outcomes that are due after `act`.
    fn settled(
        &mut self,
        act: impl FnOnce(&mut Pending, &mut Vec<Settled>),
    ) -> Vec<Result<Receipt, Undelivered>> {
        let mut settled = Vec::new();
        act(&mut self.pending, &mut settled);
        settled
            .into_iter()
            .map(|(reply, receipt)| {
                reply.send(receipt).ok();
                receipt
            })
            .collect()
    }

    fn settle(&mut self, tag: u64) -> Vec<Result<Receipt, Undelivered>> {
        self.settled(|pending, settled| pending.settle(tag, Some(Receipt::Delivered), settled))
    }

    /// A receipt that this version cannot read.
    fn settle_unreadable(&mut self, tag: u64) -> Vec<Result<Receipt, Undelivered>> {
        self.settled(|pending, settled| pending.settle(tag, None, settled))
    }

    fn expire(&mut self) -> Vec<Result<Receipt, Undelivered>> {
        self.settled(|pending, settled| pending.expire(LATE, settled))
    }
}

#[test]
fn receipts_in_any_order_reach_their_parcels() {
    let mut bench = Bench::open();
    let mut answers: Vec<Answer> = (0..3).map(|connection| bench.offer(connection).unwrap()).collect();
    assert_eq!(bench.take(), [(0, 0, 'u'), (1, 1, 'u'), (2, 2, 'u')]);
    for tag in [1, 0, 2] {
        assert_eq!(bench.settle(tag), [Ok(Receipt::Delivered)]);
        assert_eq!(answers[usize::try_from(tag).unwrap()].try_recv(), Ok(Ok(Receipt::Delivered)));
        assert_eq!(bench.settle(tag), [], "the same receipt again");
    }
    assert_eq!(bench.settle(99), [], "a receipt for an unknown parcel");
    assert!(bench.pending.in_flight.is_empty());
    let _waiting = bench.offer(3).unwrap();
    assert_eq!(bench.take(), [(3, 3, 'u')], "tags continue");
}

#[test]
fn a_receipt_of_another_version_is_one_parcel_whose_connection_is_told() {
    let mut bench = Bench::open();
    let _answers: Vec<Answer> = (0..2).map(|connection| bench.offer(connection).unwrap()).collect();
    assert_eq!(bench.take(), [(0, 0, 'u'), (1, 1, 'u')]);
    assert_eq!(bench.settle_unreadable(0), [Err(Undelivered::Unreadable)]);
    assert_eq!(bench.settle(1), [Ok(Receipt::Delivered)], "the other parcel");
    assert_eq!(bench.take(), [(2, 0, 'n')]);
    assert_eq!(bench.settle_unreadable(2), []);
    assert_eq!(bench.take(), [], "it is not told again and again");
}

#[test]
fn what_waits_goes_out_together_within_limits() {
    let mut bench = Bench::open();
    let mut answers = Vec::new();
    for connection in 0..=PARCELS_MAX as u64 {
        answers.push(bench.offer(connection).unwrap());
    }
    assert_eq!(bench.take().len(), PARCELS_MAX);
    assert_eq!(bench.take().len(), 1);
    assert_eq!(bench.take().len(), 0);
    let large: Arc<str> = "x".repeat(REQUEST_WEIGHT_MAX / 2).into();
    for connection in 0..3 {
        answers.push(bench.offer_data(connection, Some(large.clone())).unwrap());
    }
    assert_eq!(bench.take().len(), 2);
    assert_eq!(bench.take().len(), 1);
    let large = Bytes::from(large.as_bytes().to_vec());
    for connection in 0..3 {
        answers.push(bench.offer_body(connection, large.clone()).unwrap());
    }
    assert_eq!(bench.take().iter().map(|(_, _, kind)| kind).collect::<String>(), "mm");
    assert_eq!(bench.take().len(), 1);
}

#[test]
fn an_expired_message_is_not_sent() {
    let mut bench = Bench::open();
    let body = Bytes::from_static(b"body");
    let mut late = bench.offer_body(1, body.clone()).unwrap();
    assert_eq!(bench.take_after(Duration::from_secs(60)), [(0, 1, 'n')], "only a nudge");
    assert_eq!(late.try_recv(), Ok(Err(Undelivered::TimedOut)));
    let _in_time = bench.offer_body(2, body).unwrap();
    assert_eq!(bench.take_after(Duration::from_secs(59)), [(1, 2, 'm')]);
}

#[test]
fn the_limits_bound_what_is_kept() {
    let mut bench = Bench::open();
    let mut answers = Vec::new();
    for connection in 0..(IN_FLIGHT_MAX + OUTBOX_MAX) as u64 {
        answers.push(bench.offer(connection).unwrap());
        if bench.pending.in_flight.len() < IN_FLIGHT_MAX {
            bench.take();
        }
    }
    assert_eq!(bench.take().len(), 0, "too many receipts are due");
    assert_eq!(bench.offer(0).err(), Some(Undelivered::Overloaded));
    assert_eq!(bench.metrics.nudges_pending.get(), 1);
    bench.settle(0);
    assert_eq!(bench.take().len(), 1, "a receipt makes room");
    for connection in 0..=MISSED_MAX as u64 {
        bench.pending.remember(ConnectionId(connection));
    }
    assert_eq!(bench.metrics.nudges_pending.get(), MISSED_MAX as i64);
    assert_eq!(bench.metrics.nudges_dropped.get(), 1);
}

#[test]
fn a_parcel_that_gets_no_receipt_is_nudged_once_the_node_speaks() {
    let mut bench = Bench::open();
    let _first = bench.offer(1).unwrap();
    let _second = bench.offer(2).unwrap();
    bench.take();
    assert_eq!(bench.expire(), [Err(Undelivered::TimedOut), Err(Undelivered::TimedOut)]);
    assert_eq!(bench.take(), [(2, 1, 'n')], "one, to find out whether the node is back");
    assert_eq!(bench.take(), []);
    bench.settle(2);
    assert_eq!(bench.take(), [(3, 2, 'n')]);
    bench.settle(3);
    assert_eq!(bench.metrics.nudges_pending.get(), 0);
    assert_eq!(bench.take(), []);
}

#[test]
fn a_nudge_without_a_receipt_is_tried_again() {
    let mut bench = Bench::open();
    bench.pending.remember(ConnectionId(1));
    assert_eq!(bench.take(), [(0, 1, 'n')]);
    assert_eq!(bench.expire(), [], "no request waits for a nudge");
    assert_eq!(bench.take(), [(1, 1, 'n')]);
}

#[test]
fn a_broken_stream_settles_all_parcels_and_the_next_one_nudges() {
    let mut bench = Bench::open();
    let _sent = bench.offer(1).unwrap();
    bench.take();
    let _waiting = bench.offer(2).unwrap();
    let broken = bench.settled(|pending, settled| pending.broken(settled));
    assert_eq!(broken, [Err(Undelivered::Broken), Err(Undelivered::Broken)]);
    assert_eq!(bench.pending.take_request(bench.stream, LATE), Err(Superseded), "the old stream is over");
    assert_eq!(bench.offer(3).err(), Some(Undelivered::Broken));
    bench.stream = bench.pending.next_stream();
    assert_eq!(bench.take(), [], "the new stream has not worked yet");
    bench.pending.opened();
    let nudged: Vec<u64> = bench.take().into_iter().map(|(_, connection, _)| connection).collect();
    assert_eq!(nudged, [1, 2, 3]);
    assert_eq!(bench.settle(0), [], "a receipt of the old stream");
}

#[test]
fn what_a_node_that_hands_over_has_not_answered_is_sent_again_in_its_order() {
    let mut bench = Bench::open();
    let mut answers: Vec<_> = (1..=4).map(|connection| bench.offer(connection).unwrap()).collect();
    assert_eq!(bench.take().len(), 4);
    assert_eq!(bench.settle(1), [Ok(Receipt::Delivered)]);
    answers.push(bench.offer(5).unwrap());
    bench.pending.handed_over();
    assert_eq!(bench.pending.phase(), Phase::Opening);
    // What is offered meanwhile waits, and a receipt of the former stream means nothing.
    answers.push(bench.offer(6).unwrap());
    assert_eq!(bench.settle(2), []);
    bench.stream = bench.pending.next_stream();
    bench.pending.opened();
    let connections: Vec<_> = bench.take().into_iter().map(|(_, connection, _)| connection).collect();
    assert_eq!(connections, [1, 3, 4, 5, 6]);
    assert_eq!(bench.expire().len(), 5);
}

#[test]
fn parcels_wait_for_the_first_stream_until_their_deadline() {
    let mut bench = Bench::opening();
    let _answer = bench.offer(1).unwrap();
    assert_eq!(bench.expire(), [Err(Undelivered::TimedOut)]);
    let _answer = bench.offer(2).unwrap();
    assert_eq!(bench.take(), [(0, 2, 'u')], "nudges wait until the stream works");
}

#[test]
fn a_closed_link_takes_and_remembers_nothing() {
    let mut bench = Bench::open();
    let _answer = bench.offer(1).unwrap();
    let closed = bench.settled(|pending, settled| {
        pending.close(settled);
    });
    assert_eq!(closed, [Err(Undelivered::NodeGone)]);
    assert_eq!(bench.offer(2).err(), Some(Undelivered::NodeGone));
    assert_eq!(bench.metrics.nudges_pending.get(), 0);
    assert_eq!(bench.pending.take_request(bench.stream, LATE), Err(Superseded));
    bench.pending.opened();
    assert_eq!(bench.pending.phase(), Phase::Closed);
}

#[test]
fn a_parked_stream_wakes_when_it_can_send() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let waker = Waker::from(Arc::new(Nothing));
    let mut bench = Bench::open();
    bench.pending.park(&waker);
    assert!(bench.pending.take_waker_if_ready().is_none(), "there is nothing to send");
    bench.pending.remember(ConnectionId(1));
    assert!(bench.pending.take_waker_if_ready().is_some_and(|woken| woken.will_wake(&waker)));
    assert!(bench.pending.take_waker_if_ready().is_none(), "it is awake");
}
