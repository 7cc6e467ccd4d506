//! The encrypted body of a Web Push message.

use bytes::Bytes;

/// An encrypted body. It is opaque to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// How it is encrypted.
    pub encoding: Encoding,
    /// The body, not empty.
    pub body: Bytes,
}

impl Payload {
    /// The number of bytes in the body and the headers.
    pub fn weight(&self) -> usize {
        let headers = match &self.encoding {
            Encoding::Aes128gcm => 0,
            Encoding::Aesgcm { encryption, crypto_key } => encryption.len() + crypto_key.len(),
        };
        self.body.len() + headers
    }
}

/// How a body is encrypted, and what else its receiver needs to decrypt it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 8188: everything is in the body.
    Aes128gcm,
    /// draft-ietf-webpush-encryption-04: two headers, as they are sent to the user agent, without quotes and
    /// padding. ASCII.
    Aesgcm {
        /// `Encryption`.
        encryption: Box<str>,
        /// `Crypto-Key`.
        crypto_key: Box<str>,
    },
}
