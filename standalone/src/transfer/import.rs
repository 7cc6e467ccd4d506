//! `beckon import`.

use super::{
    file::{Item, Reader, Unusable},
    order::{Keys, Order, Progress, patiently, say, unavailable},
};
use crate::key_files::{TOKEN_KEYS, UAID_KEY};
use beckon_ops::{clock::Clock, exit::Failure};
use beckon_store::{Store, StoreError};
use beckon_types::{ClientRecord, KeyRing, Payload, UaidKey};
use futures_util::{
    future::{BoxFuture, FutureExt as _},
    stream::{FuturesUnordered, StreamExt as _},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Clients that are added at the same time.
const ADDS_MAX: usize = 256;

/// Bytes of messages that are added at the same time, besides those of one client.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Items that wait to be added.
const QUEUE_LEN_MAX: usize = 64;

/// What to do after an import that was cut short.
const GO_ON: &str = "what was imported so far is in order; run the command again with --add to go on";

/// Where an export comes from.
type Source = Box<dyn BufRead + Send>;

/// Runs the command.
pub(super) async fn run(mut order: Order) -> Result<(), Failure> {
    let name = order.file_name("stdin");
    let unusable = |error: Unusable| Failure::usage(format!("{name}: {error}"));
    // A file that is damaged, or not whole, changes nothing.
    if let Some(file) = &order.file {
        let mut reader = Reader::new(open(Some(file))?).map_err(unusable)?;
        while reader.next(Duration::ZERO).map_err(unusable)?.is_some() {}
    }
    let reader = Reader::new(open(order.file.as_deref())?).map_err(unusable)?;
    let keys = fitting_keys(&order, &reader.keys)?;
    let store = order.open(keys).await?;
    if !order.add && has_clients(&store).await.map_err(unavailable)? {
        let reason = "the store has clients already; --add leaves them as they are and adds the others";
        return Err(Failure::usage(reason));
    }
    let disturbances = store.disturbances();
    let (queue, items) = mpsc::channel(QUEUE_LEN_MAX);
    let reading = tokio::task::spawn_blocking(move || read(reader, &queue));
    let import = import(&store, items).await;
    let Imported { added, present, messages, broadcasts } =
        import.map_err(|error| Failure::unavailable(format!("{error}; {GO_ON}")))?;
    let whole = reading.await.map_err(Failure::software)?;
    whole.map_err(|error| Failure::usage(format!("{name}: {error}; {GO_ON}")))?;
    if store.disturbances() != disturbances {
        let reason = "connections to the store broke or its slots moved meanwhile, so something may be lost";
        return Err(Failure::unavailable(format!("{reason}; {GO_ON}")));
    }
    store.close().await.map_err(unavailable)?;
    say(&format!("imported {added} clients, {messages} messages and {broadcasts} broadcasts"));
    if present > 0 {
        say(&format!("{present} clients were there already, and stay as they were"));
    }
    Ok(())
}

fn open(file: Option<&Path>) -> Result<Source, Failure> {
    let Some(file) = file else { return Ok(Box::new(BufReader::new(io::stdin()))) };
    let opened = File::open(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// The keys with which the store will be used: those that are set or in its data directory, which have to fit those of the
/// export; otherwise the data directory gets those of the export.
fn fitting_keys(order: &Order, exported: &Keys) -> Result<Keys, Failure> {
    let (token_keys, uaid_key) = (order.token_keys()?, order.uaid_key()?);
    // Before a file is made: an import that is refused changes nothing.
    let token_keys = token_keys.map(|found| including(found, &exported.token_keys)).transpose()?;
    if uaid_key.as_ref().is_some_and(|found| found.fingerprint() != exported.uaid_key.fingerprint()) {
        return Err(Failure::usage(
            "the export was made with another uaid_key, so no client would be known: uaid_key, or the file uaid-key in \
             data_dir, has to be the one in the first line of the export",
        ));
    }
    if order.is_embedded() {
        let data_dir = &order.config.process.data_dir;
        if token_keys.is_none() {
            TOKEN_KEYS.keep::<KeyRing>(data_dir, &exported.token_keys.secret_text())?;
        }
        if uaid_key.is_none() {
            UAID_KEY.keep::<UaidKey>(data_dir, &exported.uaid_key.secret_text())?;
        }
    } else if token_keys.is_none() || uaid_key.is_none() {
        let reason = "set token_keys and uaid_key as the nodes will have them; token_keys has to include the keys in the \
                      first line of the export, and uaid_key has to be the one there";
        return Err(Failure::usage(reason));
    }
    let token_keys = token_keys.unwrap_or_else(|| exported.token_keys.clone());
    Ok(Keys { token_keys, uaid_key: exported.uaid_key.clone() })
}

/// Token keys, if they include all of the export's.
fn including(found: KeyRing, needed: &KeyRing) -> Result<KeyRing, Failure> {
    let found_keys: BTreeSet<u64> = found.fingerprints().into_iter().collect();
    match needed.fingerprints().into_iter().filter(|key| !found_keys.contains(key)).count() {
        0 => Ok(found),
        missing => Err(Failure::usage(format!(
            "{missing} token keys of the export are missing here, so endpoints would be lost: token_keys, or the file \
             token-keys in data_dir, has to include those in the first line of the export"
        ))),
    }
}

async fn has_clients(store: &Arc<dyn Store>) -> Result<bool, StoreError> {
    let mut from = None;
    loop {
        let page = patiently(|| store.list_clients(from)).await?;
        if !page.clients.is_empty() {
            return Ok(true);
        }
        from = page.next;
        if from.is_none() {
            return Ok(false);
        }
    }
}

/// Reads all items, as they are now, and passes them on.
fn read(mut reader: Reader<Source>, queue: &mpsc::Sender<Item>) -> Result<(), Unusable> {
    let clock = Clock::start();
    while let Some(item) = reader.next(Duration::from_millis(clock.unix_ms()))? {
        if queue.blocking_send(item).is_err() {
            // The import has failed, and says why.
            break;
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Imported {
    added: u64,
    present: u64,
    messages: u64,
    broadcasts: u64,
}

/// A client that is being added: its messages, their bytes, and whether it was not there.
type Adding<'a> = BoxFuture<'a, Result<(u64, usize, bool), StoreError>>;

async fn import(store: &Arc<dyn Store>, mut items: mpsc::Receiver<Item>) -> Result<Imported, StoreError> {
    let (mut imported, mut progress) = (Imported::default(), Progress::start());
    let present = patiently(|| store.broadcasts(0)).await?.unwrap_or_default();
    let mut adding: FuturesUnordered<Adding<'_>> = FuturesUnordered::new();
    let (mut bytes, mut is_ended) = (0, false);
    loop {
        let has_room = !is_ended && adding.len() < ADDS_MAX && bytes < BYTES_MAX;
        tokio::select! {
            item = items.recv(), if has_room => match item {
                Some(Item::Client(record)) => {
                    let (messages, len) = (record.messages.len() as u64, weight(&record));
                    bytes += len;
                    let add = async move {
                        let added = patiently(|| store.add_client(record.clone())).await?;
                        Ok((messages, len, added))
                    };
                    adding.push(add.boxed());
                }
                Some(Item::Broadcast(id, version)) => {
                    if !present.values.contains_key(id.as_str()) {
                        let set = patiently(|| store.set_broadcast(id.clone(), version.clone())).await?;
                        imported.broadcasts += u64::from(set.is_ok());
                    }
                }
                None => is_ended = true,
            },
            Some(added) = adding.next(), if !adding.is_empty() => {
                let (messages, len, is_new) = added?;
                bytes -= len;
                if is_new {
                    imported.added += 1;
                    imported.messages += messages;
                } else {
                    imported.present += 1;
                }
                progress.report(imported.added + imported.present, imported.messages);
            }
            else => return Ok(imported),
        }
    }
}

/// The bytes of the messages of a client.
fn weight(record: &ClientRecord) -> usize {
    let payloads = record.messages.iter().filter_map(|message| message.draft.payload.as_ref());
    payloads.map(Payload::weight).sum()
}
