//! Fuzz targets for what proxies and operators say about addresses.

use crate::{
    forwarded::ForwardedHeader,
    proxy_header::{self, Said},
    rate::Rate,
    source::{Networks, Source},
};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// A PROXY protocol header of either version: an address that it names has the family that it names.
pub fn proxy_header(data: &[u8]) {
    let Some(said) = proxy_header::parse(data) else { return };
    let Said::From(address) = said else { return };
    let text = String::from_utf8_lossy(data);
    let (family, words) = match address {
        IpAddr::V4(_) => (0x11..0x20, "PROXY TCP4 "),
        IpAddr::V6(_) => (0x20..0x30, "PROXY TCP6 "),
    };
    let is_version_1 = text.starts_with(words);
    assert!(
        is_version_1 || data.get(13).is_some_and(|byte| (family.start & 0xf0..family.end).contains(byte)),
        "{text:?}"
    );
    // The same address as a proxy writes it.
    let (other, port) = (if address.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }, 443);
    let line = format!("{words}{address} {other} {port} {port}\r\n");
    assert_eq!(proxy_header::parse(line.as_bytes()), Some(said), "{line}");
}

/// Lines of `X-Forwarded-For` and of `Forwarded`. What is understood, is understood again when it is written, and something in
/// front of it changes nothing: the nearest address is the last one.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<HeaderValue> =
        data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    for (header, name) in [
        (ForwardedHeader::XForwardedFor, HeaderName::from_static("x-forwarded-for")),
        (ForwardedHeader::Forwarded, hyper::header::FORWARDED),
    ] {
        let read = |lines: &[HeaderValue]| -> Vec<IpAddr> {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(name.clone(), line.clone());
            }
            header.addresses(&headers).collect()
        };
        let addresses = read(&lines);
        let write = |address: &IpAddr| match (header, address) {
            (ForwardedHeader::Forwarded, IpAddr::V4(address)) => format!("for={address}"),
            (ForwardedHeader::Forwarded, IpAddr::V6(address)) => {
                format!("for=\"[{address}]:443\";proto=https")
            }
            (ForwardedHeader::XForwardedFor | ForwardedHeader::None, address) => address.to_string(),
        };
        let written: Vec<String> = addresses.iter().rev().map(write).collect();
        let written = HeaderValue::try_from(written.join(", ")).expect("addresses are visible ASCII");
        if !addresses.is_empty() {
            assert_eq!(read(&[written]), addresses);
        }
        let spoofed = [&[HeaderValue::from_static("for=203.0.113.7, 203.0.113.7")][..], &lines].concat();
        assert!(read(&spoofed).starts_with(&addresses));
    }
}

/// Networks and rates, as an operator writes them.
pub fn port_settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(networks) = text.parse::<Networks>() {
        let is_one = text.trim().parse::<IpAddr>();
        assert!(is_one.is_err() || is_one.is_ok_and(|address| networks.contains(address)), "{text}");
    }
    let _ = Rate::parse(text);
    if let Ok(address) = text.parse::<IpAddr>()
        && let Some(source) = Source::of(address)
    {
        assert_eq!(Source::of(source.address()), Some(source), "the first address of a source belongs to it");
    }
}

#[cfg(test)]
mod tests {
    use beckon_replay::replay;

    #[test]
    fn kept_proxy_headers() {
        replay("proxy_header", super::proxy_header);
    }

    #[test]
    fn kept_forwarded_headers() {
        replay("forwarded", super::forwarded);
    }

    #[test]
    fn kept_port_settings() {
        replay("port_settings", super::port_settings);
    }
}
