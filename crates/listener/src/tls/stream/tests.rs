//! A peer that breaks the protocol, during its handshake and after it.

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

/// The beginning of a ClientHello, in a record that is whole.
const CLIENT_HELLO_BEGUN: [u8; 13] = [22, 3, 1, 0, 8, 1, 0, 1, 0, 3, 3, 7, 7];

fn server(made: &Certificates) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(made.certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(made.key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(server.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

/// Two ends of a TCP connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (tcp, accepted)
}

/// A connection after its handshake: the side of the server, and the TCP connection of the client.
async fn agreed() -> (Box<TlsStream>, TcpStream) {
    let made = Certificates::make();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(made.authority()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    let (tcp, accepted) = connected().await;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (client, server) =
        tokio::join!(connector.connect(name, tcp), TlsStream::accept(accepted, server(&made)));
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

#[tokio::test]
async fn whatever_follows_the_beginning_of_a_handshake_ends_it_without_a_panic() {
    let made = Certificates::make();
    let config = server(&made);
    for second in [
        &[21, 3, 1, 0, 2, 2, 40][..],
        &[21, 3, 1, 0, 2, 1, 0],
        &[21, 3, 1, 0, 2, 9, 9],
        &[21, 3, 1, 0, 1, 2],
        &[20, 3, 1, 0, 1, 1],
        &[20, 3, 1, 0, 1, 9],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[23, 3, 3, 0, 3, 1, 2, 3],
        &[9, 3, 1, 0, 0],
        &[22, 9, 9, 0, 1, 1],
    ] {
        let (mut client, accepted) = connected().await;
        client.write_all(&[&CLIENT_HELLO_BEGUN[..], second].concat()).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(TlsStream::accept(accepted, config.clone()).await.is_err(), "{second:?}");
    }
}

#[tokio::test]
async fn a_damaged_record_after_the_end_is_discarded() {
    let (mut server, mut client) = agreed().await;
    server.shutdown().await.unwrap();
    client.write_all(&FORGED).await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}
