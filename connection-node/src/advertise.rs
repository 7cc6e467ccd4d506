//! At which address other nodes reach this one: the setting `grpc_advertise`.
//!
//! With `auto` the node finds its address itself, from the first of these that there is:
//!
//! 1. the variable `POD_IP`, which a manifest of Kubernetes sets from `status.podIP` (the downward API);
//! 2. the metadata of its ECS task, of which `ECS_CONTAINER_METADATA_URI_V4` says where it is;
//! 3. the metadata of its EC2 instance (IMDSv2), if the firmware says that this is one;
//! 4. the interface with the route to other networks.
//!
//! One that there is and that fails is not passed over for the next: that would advertise an address at which no node can be
//! reached, which is found out much later.

mod metadata;

use beckon_ops::{config::environment, exit::Failure};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

/// What `grpc_advertise` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// The address of `grpc_listen`.
    Listen,
    /// This one, as `host:port`.
    Given(String),
    /// The address that the node finds, with this port or that of `grpc_listen`.
    Auto(Option<u16>),
}

impl FromStr for Advertise {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::Listen);
        }
        if text == "auto" {
            return Ok(Self::Auto(None));
        }
        let reason = "must be host:port, auto, or auto:PORT";
        if let Some(port) = text.strip_prefix("auto:") {
            return port.parse().map(|port| Self::Auto(Some(port))).map_err(|_| reason);
        }
        // As `$(POD_IP):8082` of Kubernetes becomes, where addresses of pods are of IPv6.
        if let Some((host, port)) = text.rsplit_once(':').filter(|(host, _)| is_bare_ipv6(host)) {
            let address = host.parse::<Ipv6Addr>().ok().zip(port.parse::<u16>().ok());
            return address.map(|address| Self::Given(SocketAddr::from(address).to_string())).ok_or(reason);
        }
        match text.parse::<http::uri::Authority>() {
            Ok(authority) if authority.port_u16().is_some() && !text.contains('@') => {
                Ok(Self::Given(text.to_owned()))
            }
            _ => Err(reason),
        }
    }
}

fn is_bare_ipv6(host: &str) -> bool {
    host.contains(':') && !host.starts_with('[')
}

impl Advertise {
    /// The address for other nodes, if `listen` is where they are served. It is found within half a minute.
    ///
    /// # Errors
    /// The address cannot be found.
    pub async fn resolve(&self, listen: SocketAddr) -> Result<String, Failure> {
        let port = match self {
            Self::Listen => return Ok(listen.to_string()),
            Self::Given(address) => return Ok(address.clone()),
            Self::Auto(port) => port.unwrap_or(listen.port()),
        };
        let (source, found) = Surroundings::of_process().find().await?;
        let address = SocketAddr::new(found, port).to_string();
        tracing::info!(address, source, "found the address for other nodes");
        Ok(address)
    }
}

/// Where a process can learn its address.
#[derive(Debug, Default)]
struct Surroundings {
    pod_ip: Option<String>,
    /// The URL of the metadata of this container.
    ecs: Option<String>,
    /// The URL of the metadata of this instance.
    ec2: Option<String>,
}

/// The address of the metadata of EC2 instances.
const EC2: &str = "http://169.254.169.254";

impl Surroundings {
    fn of_process() -> Self {
        let is_ec2 = || {
            let vendor = fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
            vendor.trim() == "Amazon EC2"
        };
        let is_disabled = environment("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value == "true");
        let ec2 =
            environment("AWS_EC2_METADATA_SERVICE_ENDPOINT").or_else(|| is_ec2().then(|| EC2.to_owned()));
        Self {
            pod_ip: environment("POD_IP"),
            ecs: environment("ECS_CONTAINER_METADATA_URI_V4"),
            ec2: ec2.filter(|_| !is_disabled),
        }
    }

    /// The address, and where it comes from.
    async fn find(&self) -> Result<(&'static str, IpAddr), Failure> {
        let because = |source: &str, error: String| format!("grpc_advertise = auto: {source}: {error}");
        if let Some(text) = &self.pod_ip {
            let address = usable(text).map_err(|error| Failure::usage(because("POD_IP", error)))?;
            return Ok(("POD_IP", address));
        }
        if let Some(url) = &self.ecs {
            let source = "the metadata of the ECS task";
            let unavailable = |error| Failure::unavailable(because(source, error));
            // A task in the network of its instance has the address of that.
            if let Some(text) = metadata::ecs(url).await.map_err(unavailable)? {
                return Ok((source, usable(&text).map_err(unavailable)?));
            }
        }
        if let Some(url) = &self.ec2 {
            let source = "the metadata of the EC2 instance";
            let address = metadata::ec2(url).await.and_then(|text| usable(&text));
            return Ok((source, address.map_err(|error| Failure::unavailable(because(source, error)))?));
        }
        let address = by_route().map_err(|error| Failure::unavailable(because("the interface", error)))?;
        Ok(("the interface with the default route", address))
    }
}

/// An address at which another machine could reach this one.
fn usable(text: &str) -> Result<IpAddr, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_loopback() => {
            Err(format!("no other machine can reach {address}"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(format!("{:?} is not an IP address", text.chars().take(64).collect::<String>())),
    }
}

/// The address from which this machine reaches other networks.
fn by_route() -> Result<IpAddr, String> {
    let from = |local: IpAddr, remote: IpAddr| {
        let socket = UdpSocket::bind((local, 0))?;
        // This sends nothing: it only asks the kernel for the route. The remote addresses are those of documentation.
        socket.connect((remote, 9))?;
        socket.local_addr().map(|address| address.ip())
    };
    let v4 = from(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let found = v4.or_else(|_| {
        from(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    });
    let address = found.map_err(|error| format!("there is no default route ({error}); give host:port"))?;
    usable(&address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_or_found() {
        for (text, expected) in [
            ("", Some(Advertise::Listen)),
            ("node-a:8082", Some(Advertise::Given("node-a:8082".to_owned()))),
            ("[::1]:8082", Some(Advertise::Given("[::1]:8082".to_owned()))),
            ("fd00:1::7:8082", Some(Advertise::Given("[fd00:1::7]:8082".to_owned()))),
            ("fd00:1::7", None),
            ("fd00::1:70000", None),
            ("fd00:1:2:3:4:5:6:7", None),
            ("auto", Some(Advertise::Auto(None))),
            ("auto:9000", Some(Advertise::Auto(Some(9000)))),
            ("automatic:9000", Some(Advertise::Given("automatic:9000".to_owned()))),
            ("auto:", None),
            ("auto:70000", None),
            ("node-a", None),
            ("user@node-a:1", None),
        ] {
            assert_eq!(text.parse::<Advertise>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn only_an_address_for_others_is_usable() {
        for (text, good) in [
            ("10.1.2.3\n", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("", false),
            ("<html>", false),
        ] {
            assert_eq!(usable(text).is_ok(), good, "{text}");
        }
    }

    #[tokio::test]
    async fn a_pod_knows_its_address() {
        let of = |pod_ip: &str| Surroundings { pod_ip: Some(pod_ip.to_owned()), ..Surroundings::default() };
        assert_eq!(of("10.1.2.3").find().await.unwrap(), ("POD_IP", Ipv4Addr::new(10, 1, 2, 3).into()));
        let failure = of("localhost").find().await.unwrap_err();
        assert!(failure.message.contains("POD_IP") && failure.code == 64, "{failure:?}");
    }
}
