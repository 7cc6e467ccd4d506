//! Who is at the other end, as far as limits are concerned.

use ipnet::{IpNet, Ipv4Net};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
    str::FromStr,
};

/// An IPv4 address, or the first 64 bits of an IPv6 address: what one subscriber of a network usually has.
///
/// It takes 8 bytes, also as an `Option`, because each open socket has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(NonZeroU64);

impl Source {
    /// The source of an address. `None` for `::` and `0.0.0.0`, which no peer has.
    pub fn of(address: IpAddr) -> Option<Self> {
        let number = match address.to_canonical() {
            // No IPv6 network begins with 32 zero bits, except for addresses of this machine.
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => u64::from(Ipv4Addr::LOCALHOST.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        NonZeroU64::new(number).map(Self)
    }

    /// As a number, for another process.
    pub fn number(self) -> u64 {
        self.0.get()
    }

    /// The source with this number; `None` for 0.
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The address, or the first address of the /64.
    pub fn address(self) -> IpAddr {
        let number = self.0.get();
        match u32::try_from(number) {
            Ok(address) => Ipv4Addr::from_bits(address).into(),
            Err(_) => Ipv6Addr::from_bits(u128::from(number) << 64).into(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Networks that an operator names: addresses and prefixes, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty());
        let parsed = networks.map(|network| {
            let address = network.parse::<IpAddr>().map(IpNet::from);
            address
                .or_else(|_| network.parse())
                .map(canonical)
                .map_err(|_| "must be addresses and networks such as 10.0.0.0/8")
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }
}

/// The network of IPv4 addresses that a network of IPv4-mapped ones stands for, such as `::ffff:192.0.2.0/120`: addresses are
/// compared in that form.
fn canonical(network: IpNet) -> IpNet {
    /// The bits in front of a mapped address.
    const MAPPED_LEN: u8 = 96;
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_LEN));
    mapped.and_then(|(address, len)| Ipv4Net::new(address, len).ok()).map_or(network, IpNet::from)
}

/// Whether an address is of this machine or of a private network, so that it may be that of a proxy.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // The last one is the shared address space of RFC 6598, which cloud providers use inside.
            let is_shared = first == 100 && second & 0xc0 == 64;
            address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> String {
        Source::of(text.parse().unwrap()).map_or_else(|| "none".into(), |source| source.to_string())
    }

    #[test]
    fn a_source_is_an_address_or_a_64() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "127.0.0.1"),
            ("::", "none"),
            ("0.0.0.0", "none"),
        ] {
            assert_eq!(source(address), expected, "{address}");
        }
        assert_eq!(size_of::<Option<Source>>(), 8);
    }

    #[test]
    fn networks_are_addresses_and_prefixes() {
        let networks: Networks = "10.0.0.0/8, 2001:db8::/32,192.0.2.7".parse().unwrap();
        for (address, is_within) in [
            ("10.200.0.1", true),
            ("::ffff:10.1.1.1", true),
            ("11.0.0.1", false),
            ("2001:db8:9::1", true),
            ("2001:db9::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), is_within, "{address}");
        }
        let mapped: Networks = "::ffff:192.0.2.0/120, ::ffff:198.51.100.7".parse().unwrap();
        for (address, is_within) in
            [("192.0.2.9", true), ("::ffff:192.0.2.9", true), ("192.0.3.1", false), ("198.51.100.7", true)]
        {
            assert_eq!(mapped.contains(address.parse().unwrap()), is_within, "{address}");
        }
        assert_eq!("".parse(), Ok(Networks::default()));
        for bad in ["10.0.0.0/33", "example.net", "10.0.0.0/8 10.1.0.0/16"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }

    #[test]
    fn private_addresses_may_be_those_of_a_proxy() {
        for (address, expected) in [
            ("127.8.0.1", true),
            ("::1", true),
            ("10.0.0.1", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("169.254.0.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }
}
