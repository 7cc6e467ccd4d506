//! A peer that breaks the protocol after its handshake.

use super::TlsStream;
use beckon_testbed::certificates::Certificates;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use std::{io::ErrorKind, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, rustls};

/// Application data that no key has encrypted.
const FORGED: [u8; 25] = {
    let mut record = [7; 25];
    [record[0], record[1], record[2], record[3], record[4]] = [0x17, 3, 3, 0, 20];
    record
};

/// A connection after its handshake: the side of the server, and the TCP connection of the client.
async fn agreed() -> (Box<TlsStream>, TcpStream) {
    let made = Certificates::make();
    let certificate = CertificateDer::from_pem_file(made.certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(made.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(made.authority()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (client, server) =
        tokio::join!(connector.connect(name, tcp), TlsStream::accept(accepted, Arc::new(server)));
    (server.unwrap(), client.unwrap().into_inner().0)
}

#[tokio::test]
async fn after_a_damaged_record_the_peer_gets_an_alert_and_nothing_else_happens() {
    let (mut server, mut client) = agreed().await;
    client.write_all(&FORGED).await.unwrap();
    let read = server.read(&mut [0; 100]).await;
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::InvalidData));
    let written = server.write(b"too late").await;
    assert_eq!(written.map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
    assert_eq!(server.read(&mut [0; 100]).await.unwrap(), 0, "the end");
    server.shutdown().await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    // In TLS 1.3 the alert looks like application data; session tickets may be in front of it.
    assert!(answer.len() >= 24 && answer.starts_with(&[0x17, 3, 3]), "{answer:?}");
}
