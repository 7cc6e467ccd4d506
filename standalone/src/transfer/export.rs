//! `beckon export`.

use super::{
    file::{Item, Writer},
    line::EndLine,
    order::{Keys, Order, Progress, patiently, say, unavailable},
};
use crate::secret_file;
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_store::{Cause, Store, StoreError};
use beckon_types::{BroadcastId, BroadcastVersion};
use futures_util::stream::{self, StreamExt as _};
use std::{
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Clients that are read at the same time.
const READS_MAX: usize = 16;

/// Items that wait to be written.
const QUEUE_LEN_MAX: usize = 64;

/// What the thread that writes is given.
#[derive(Debug)]
enum Piece {
    /// An item, and when it was read, since the Unix epoch.
    Item(Item, Duration),
    /// The export is whole.
    End,
}

/// Runs the command.
pub(super) async fn run(mut order: Order) -> Result<(), Failure> {
    if let Some(file) = order.file.as_ref().filter(|file| file.exists()) {
        return Err(Failure::usage(format!("{} is there already", file.display())));
    }
    let (Some(token_keys), Some(uaid_key)) = (order.token_keys()?, order.uaid_key()?) else {
        let reason = "set token_keys and uaid_key as the nodes have them: the export has these keys too";
        return Err(Failure::usage(reason));
    };
    let keys = Keys { token_keys, uaid_key };
    let store = order.open(keys.clone()).await?;
    let (queue, pieces) = mpsc::channel(QUEUE_LEN_MAX);
    let file = order.file.clone();
    let writing = tokio::task::spawn_blocking(move || write(file.as_deref(), &keys, pieces));
    let exported = export(&store, queue).await;
    let written = writing.await.map_err(Failure::software)?;
    let name = order.file_name("stdout");
    let written = written.map_err(|error| Failure::unavailable(format!("{name}: {error}")))?;
    let unreadable = exported?;
    store.close().await.map_err(unavailable)?;
    let Some(EndLine { clients, messages, broadcasts, .. }) = written else {
        return Err(Failure::software("an export that is whole was not written"));
    };
    say(&format!("exported {clients} clients, {messages} messages and {broadcasts} broadcasts"));
    match unreadable {
        0 => Ok(()),
        _ => Err(Failure::unavailable(format!(
            "{unreadable} clients are not in the export, because their records are damaged or of another version"
        ))),
    }
}

/// Reads everything. Returns how many clients could not be read.
async fn export(store: &Arc<dyn Store>, queue: mpsc::Sender<Piece>) -> Result<u64, Failure> {
    let (clock, mut progress, disturbances) = (Clock::start(), Progress::start(), store.disturbances());
    let now = || Duration::from_millis(clock.unix_ms());
    let pass = async |piece| {
        queue.send(piece).await.map_err(|_| Failure::unavailable("the export cannot be written"))
    };
    let broadcasts = patiently(|| store.broadcasts(0)).await.map_err(unavailable)?.unwrap_or_default();
    for (id, version) in &broadcasts.values {
        let (id, version) = (BroadcastId::parse(id), BroadcastVersion::parse(version));
        let (Ok(id), Ok(version)) = (id, version) else {
            return Err(Failure::unavailable("a broadcast of the store is not one"));
        };
        pass(Piece::Item(Item::Broadcast(id, version), now())).await?;
    }
    let (mut from, mut clients, mut messages, mut unreadable) = (None, 0, 0, 0);
    loop {
        let page = patiently(|| store.list_clients(from)).await.map_err(unavailable)?;
        let reads = page.clients.into_iter().map(|client| patiently(move || store.read_client(client)));
        let mut reads = stream::iter(reads).buffered(READS_MAX);
        while let Some(read) = reads.next().await {
            match read {
                Ok(Some(record)) => {
                    clients += 1;
                    messages += record.messages.len() as u64;
                    pass(Piece::Item(Item::Client(record), now())).await?;
                    progress.report(clients, messages);
                }
                // It has expired since.
                Ok(None) => {}
                Err(StoreError::Unreadable(_)) => unreadable += 1,
                Err(error) if error.cause() == Cause::Damaged => unreadable += 1,
                Err(error) => return Err(unavailable(error)),
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if store.disturbances() != disturbances {
        return Err(Failure::unavailable(
            "connections to the store broke or its slots moved meanwhile, so clients may be missing; do it again",
        ));
    }
    pass(Piece::End).await?;
    Ok(unreadable)
}

/// Writes what comes; a file is for its owner only. Returns what has been written, `None` if the end does not come. Then
/// there is no file.
fn write(file: Option<&Path>, keys: &Keys, pieces: mpsc::Receiver<Piece>) -> io::Result<Option<EndLine>> {
    let Some(file) = file else {
        let written = write_all(BufWriter::new(io::stdout().lock()), keys, pieces)?;
        return Ok(written.map(|(end, _)| end));
    };
    secret_file::write(file, |out| Ok(write_all(out, keys, pieces)?.map(|(end, _)| end)))
}

fn write_all<W: Write>(
    out: W,
    keys: &Keys,
    mut pieces: mpsc::Receiver<Piece>,
) -> io::Result<Option<(EndLine, W)>> {
    let mut writer = Writer::new(out, keys)?;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Item(item, read_at) => writer.write(&item, read_at)?,
            Piece::End => return writer.finish().map(Some),
        }
    }
    Ok(None)
}
