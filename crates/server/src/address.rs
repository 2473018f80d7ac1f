//! Whose an address is, for everything that is counted by address.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one: an IPv4 address, also one that is written as IPv6, or the first 64 bits of an IPv6 address, because
/// whoever has one has all that begin with them.
pub(crate) fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_of_an_ipv6_address_that_its_owner_chooses_is_left_out() {
        let block = |address: &str| block(address.parse().unwrap()).to_string();
        assert_eq!(block("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(block("2001:db8:1:2::"), block("2001:db8:1:2:ffff::1"));
        assert_ne!(block("2001:db8:1:2::"), block("2001:db8:1:3::"));
        assert_eq!(block("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(block("192.0.2.7"), "192.0.2.7");
    }
}
