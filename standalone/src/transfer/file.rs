//! An export: its lines in their order, with their counts and a hash at the end.

use super::{
    line::{BroadcastLine, ClientLine, EndLine, HeaderLine, Line, MessageLine, VERSION},
    order::Keys,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use beckon_types::{BroadcastId, BroadcastVersion, ClientRecord};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Display,
    io::{self, BufRead, Read as _, Write},
    time::Duration,
};

/// The longest line, in bytes. A line has one client without its messages, or one message.
const LINE_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What an export has, besides keys.
#[derive(Debug)]
pub(super) enum Item {
    /// A broadcast.
    Broadcast(BroadcastId, BroadcastVersion),
    /// A client with all its messages that have not expired.
    Client(ClientRecord),
}

/// Why an export cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct Unusable {
    line: u64,
    reason: String,
}

/// Writes an export.
#[derive(Debug)]
pub(super) struct Writer<W> {
    out: W,
    hash: Sha256,
    written: EndLine,
}

impl<W: Write> Writer<W> {
    /// Begins an export. `out` should have a buffer.
    pub(super) fn new(out: W, keys: &Keys) -> io::Result<Self> {
        let mut writer = Self { out, hash: Sha256::new(), written: EndLine::default() };
        let (token_keys, uaid_key) = (keys.token_keys.secret_text(), keys.uaid_key.secret_text());
        writer.line(&Line::Export(HeaderLine { version: VERSION, token_keys, uaid_key }))?;
        Ok(writer)
    }

    /// Writes an item, which was read at this time since the Unix epoch.
    pub(super) fn write(&mut self, item: &Item, now: Duration) -> io::Result<()> {
        match item {
            Item::Broadcast(id, version) => {
                self.written.broadcasts += 1;
                let (id, version) = (id.to_string(), version.to_string());
                self.line(&Line::Broadcast(BroadcastLine { id, version }))
            }
            Item::Client(record) => {
                self.written.clients += 1;
                self.line(&Line::Client(ClientLine::new(record, now)))?;
                for message in &record.messages {
                    self.written.messages += 1;
                    self.line(&Line::Message(MessageLine::new(message, now)))?;
                }
                Ok(())
            }
        }
    }

    /// Ends the export: what it has, and where it was written to.
    pub(super) fn finish(mut self) -> io::Result<(EndLine, W)> {
        self.written.sha256 = URL_SAFE_NO_PAD.encode(self.hash.clone().finalize());
        self.line(&Line::End(self.written.clone()))?;
        self.out.flush()?;
        Ok((self.written, self.out))
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::other)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.out.write_all(&text)
    }
}

/// Reads an export.
#[derive(Debug)]
pub(super) struct Reader<R> {
    lines: Lines<R>,
    counted: EndLine,
    /// The keys.
    pub(super) keys: Keys,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub(super) fn new(source: R) -> Result<Self, Unusable> {
        let mut lines = Lines { source, hash: Sha256::new(), line: 0, text: Vec::new() };
        let not_one = "it does not begin as an export";
        let Ok(line) = lines.next() else { return Err(lines.unusable(not_one)) };
        let Line::Export(HeaderLine { version, token_keys, uaid_key }) = line else {
            return Err(lines.unusable(not_one));
        };
        if version != VERSION {
            let reason = format!("the export has format {version}, and this program reads format {VERSION}");
            return Err(lines.unusable(reason));
        }
        let token_keys =
            token_keys.parse().map_err(|reason| lines.unusable(format!("token_keys: {reason}")))?;
        let uaid_key = uaid_key.parse().map_err(|reason| lines.unusable(format!("uaid_key: {reason}")))?;
        Ok(Self { lines, counted: EndLine::default(), keys: Keys { token_keys, uaid_key } })
    }

    /// Reads the next item as it is at this time since the Unix epoch; `None` at the end, if all of it was whole.
    pub(super) fn next(&mut self, now: Duration) -> Result<Option<Item>, Unusable> {
        let hash = self.lines.hash.clone();
        match self.lines.next()? {
            Line::Broadcast(BroadcastLine { id, version }) => {
                self.counted.broadcasts += 1;
                let id = BroadcastId::parse(&id).map_err(|error| self.unusable(error))?;
                let version = BroadcastVersion::parse(&version).map_err(|error| self.unusable(error))?;
                Ok(Some(Item::Broadcast(id, version)))
            }
            Line::Client(client) => {
                self.counted.clients += 1;
                let mut record = client.record(now).map_err(|error| self.unusable(error))?;
                for _ in 0..client.messages {
                    self.message(&mut record, now)?;
                }
                Ok(Some(Item::Client(record)))
            }
            Line::End(end) => {
                let sha256 = URL_SAFE_NO_PAD.encode(hash.finalize());
                if end != (EndLine { sha256, ..self.counted.clone() }) {
                    Err(self.unusable("something is missing or was changed before the end of the export"))
                } else if self.lines.source.fill_buf().is_ok_and(|rest| rest.is_empty()) {
                    Ok(None)
                } else {
                    Err(self.unusable("something follows the end of the export"))
                }
            }
            Line::Export(_) | Line::Message(_) => Err(self.unusable("this line does not belong here")),
        }
    }

    /// Reads one of the messages of a client.
    fn message(&mut self, record: &mut ClientRecord, now: Duration) -> Result<(), Unusable> {
        let Line::Message(line) = self.lines.next()? else {
            return Err(self.unusable("a message of the client is missing"));
        };
        self.counted.messages += 1;
        let message = line.message(now).map_err(|error| self.unusable(error))?;
        if record.channels.iter().all(|channel| channel.channel.id != message.channel) {
            return Err(self.unusable("the client lacks the channel of this message"));
        }
        if !message.draft.ttl.is_zero() {
            record.messages.push(message);
        }
        Ok(())
    }

    fn unusable(&self, reason: impl Display) -> Unusable {
        self.lines.unusable(reason)
    }
}

/// The lines of an export.
#[derive(Debug)]
struct Lines<R> {
    source: R,
    /// Of all lines so far.
    hash: Sha256,
    /// The number of the last line.
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Line, Unusable> {
        self.line += 1;
        self.text.clear();
        let read = (&mut self.source).take(LINE_LEN_MAX).read_until(b'\n', &mut self.text);
        if let Err(error) = read {
            return Err(self.unusable(error));
        }
        if self.text.last() != Some(&b'\n') {
            return Err(self.unusable("the export ends before its end"));
        }
        self.hash.update(&self.text);
        serde_json::from_slice(&self.text).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, reason: impl Display) -> Unusable {
        Unusable { line: self.line, reason: reason.to_string() }
    }
}
