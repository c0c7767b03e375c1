//! Which addresses a webhook may reach. Pure.
//!
//! The name in `relay.to.url` is under the control of others, who can point it at our own network
//! at any time. So addresses are checked after each resolution, and the connection is made to the
//! address that was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// IPv4 without the global unicast addresses (IANA IPv4 Special-Purpose Address Registry, multicast,
/// and what is reserved).
const NOT_GLOBAL_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// The global unicast addresses of IPv6. Everything else is refused: loopback, unspecified,
/// IPv4-mapped and IPv4-compatible, NAT64, unique local, link-local, multicast.
const GLOBAL_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is not global within [`GLOBAL_V6`]: protocol assignments (with Teredo), documentation, 6to4.
const NOT_GLOBAL_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Whether `address` may be connected to: it is global, or in one of the networks `allow`. An IPv6
/// address that only wraps one of IPv4 (mapped, NAT64, 6to4) needs the inner one to be allowed too.
pub(super) fn is_allowed(address: IpAddr, allow: &[IpNet]) -> bool {
    let itself = is_global(address) || allow.iter().any(|net| net.contains(&address));
    itself && inner_v4(address).is_none_or(|inner| is_allowed(IpAddr::V4(inner), allow))
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !NOT_GLOBAL_V4.iter().any(|(net, bits)| has_prefix_v4(v4, Ipv4Addr::from(*net), *bits))
        }
        IpAddr::V6(v6) => {
            has_prefix_v6(v6, GLOBAL_V6) && !NOT_GLOBAL_V6.iter().any(|net| has_prefix_v6(v6, *net))
        }
    }
}

fn has_prefix_v4(address: Ipv4Addr, net: Ipv4Addr, bits: u32) -> bool {
    (address.to_bits() ^ net.to_bits()) >> (32 - bits) == 0
}

fn has_prefix_v6(address: Ipv6Addr, (net, bits): ([u16; 8], u32)) -> bool {
    (address.to_bits() ^ Ipv6Addr::from(net).to_bits()) >> (128 - bits) == 0
}

/// The address of IPv4 to which one of IPv6 leads.
fn inner_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        // Unspecified and loopback lead to nothing else.
        [0, 0, 0, 0, 0, 0, 0, _] => None,
        // IPv4-compatible ::/96, mapped ::ffff:0:0/96, translated ::ffff:0:0:0/96; NAT64.
        [0, 0, 0, 0, _, _, high, low] | [0x64, 0xff9b, _, _, _, _, high, low] => {
            Some(join(high, low))
        }
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo hides the client's address by inverting it.
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str, allow: &[&str]) -> bool {
        let allow: Vec<IpNet> = allow.iter().map(|net| net.parse().expect("a network")).collect();
        is_allowed(address.parse().expect("an address"), &allow)
    }

    #[test]
    fn only_global_unicast_addresses_are_reached() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!allowed(address, &[]), "{address}");
        }
        let reached = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "3ffe::1",
            "2a00:1450:4001::1",
        ];
        for address in reached {
            assert!(allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn a_network_can_be_allowed_and_a_wrapper_does_not_lead_around_it() {
        assert!(allowed("10.1.2.3", &["10.1.0.0/16"]));
        assert!(!allowed("10.2.0.0", &["10.1.0.0/16"]));
        assert!(!allowed("::ffff:10.1.2.3", &["10.1.0.0/16"]), "nobody needs mapped addresses");
        assert!(allowed("::ffff:10.1.2.3", &["10.1.0.0/16", "::ffff:0:0/96"]));
        // NAT64 can be allowed (IPv6-only subnets need it), and opens no private address.
        assert!(allowed("64:ff9b::808:808", &["64:ff9b::/96"]));
        assert!(!allowed("64:ff9b::a9fe:a9fe", &["64:ff9b::/96"]));
        assert!(!allowed("2002:7f00:1::1", &["2002::/16"]));
        assert!(
            !allowed("2001:0:4136:e378:8000:63bf:80ff:fffe", &["2001::/32"]),
            "127.0.0.1 inverted"
        );
        assert!(!allowed("::ffff:0:7f00:1", &["::/64"]));
        assert!(allowed("::1", &["::1/128"]));
        assert!(allowed("fd12::1", &["fd12::/16"]));
    }
}
