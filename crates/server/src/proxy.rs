//! Whose connection it is, where proxies stand between the client and us: `X-Forwarded-For` and the PROXY protocol. Both are
//! believed only from trusted proxies, and every byte of them is hostile input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::limits;

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether an address is one of these proxies'.
pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Whose request it is: the peer's or, if that is a trusted proxy, that of the last address in `X-Forwarded-For` that is no
/// trusted proxy. What cannot be read ends the search: whatever stands before it nobody vouches for.
pub(crate) fn client(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer.to_canonical();
    if trusted.is_empty() {
        return client;
    }
    // Each proxy has put the address it was asked from behind those that it was told; several headers are one list.
    let lists = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let addresses = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
    for address in addresses.take(limits::FORWARDED) {
        if !is_trusted(trusted, client) {
            break;
        }
        match std::str::from_utf8(address).ok().and_then(forwarded) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, as proxies write it: also with a port, also in brackets.
fn forwarded(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    text.parse().ok().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

/// What the beginning of a connection is, as a head of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// So many more bytes belong to it at least. Not one more is read: what follows is the client's.
    More(usize),
    /// It is whole; `None`: the proxy speaks for itself, or does not say for whom.
    Whole(Option<IpAddr>),
    /// It is none.
    Broken,
}

/// Bytes that each version has: `PROXY UNKNOWN\r\n` is the shortest.
const SHORTEST: usize = 15;
const V1: &[u8] = b"PROXY ";
/// The longest of version 1, with its end.
const V1_LONGEST: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family, length.
const V2_FIXED: usize = 16;

/// Looks at what has been read so far.
pub(crate) fn head(read: &[u8]) -> Head {
    if let Some(missing @ 1..) = SHORTEST.checked_sub(read.len()) {
        return Head::More(missing);
    }
    if read.starts_with(V1) {
        text_head(read)
    } else if read.starts_with(V2) {
        binary_head(read)
    } else {
        Head::Broken
    }
}

fn text_head(read: &[u8]) -> Head {
    match read.strip_suffix(b"\r\n") {
        Some(line) => {
            let source = std::str::from_utf8(line).ok().and_then(text_source);
            source.map_or(Head::Broken, Head::Whole)
        }
        None if read.len() >= V1_LONGEST || read.contains(&b'\n') => Head::Broken,
        None => Head::More(1),
    }
}

/// `PROXY TCP4 source destination port port`. Outer: whether the line is sound.
#[expect(clippy::option_option, reason = "outer: whether it is sound, inner: whether it names somebody")]
fn text_source(line: &str) -> Option<Option<IpAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else { return None };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let source = address(source)?;
    address(destination)?;
    source_port.parse::<u16>().ok()?;
    destination_port.parse::<u16>().ok()?;
    Some(Some(source.to_canonical()))
}

fn binary_head(read: &[u8]) -> Head {
    let Some((fixed, rest)) = read.split_first_chunk::<V2_FIXED>() else {
        return Head::More(V2_FIXED - read.len());
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if V2_FIXED + length > limits::PROXY_HEAD_BYTES {
        return Head::Broken;
    }
    if let Some(missing @ 1..) = length.checked_sub(rest.len()) {
        return Head::More(missing);
    }
    // The upper half of the family says what addresses there are, the lower one whether it is a stream.
    match (command, family >> 4) {
        (0x21, 1) if length >= 12 => {
            Head::Whole(rest.first_chunk::<4>().map(|source| IpAddr::V4(Ipv4Addr::from(*source))))
        }
        (0x21, 2) if length >= 36 => Head::Whole(
            rest.first_chunk::<16>().map(|source| IpAddr::V6(Ipv6Addr::from(*source)).to_canonical()),
        ),
        // The proxy asks for itself (is anybody there?), or for somebody who has no address.
        (0x20, _) | (0x21, 0 | 3) => Head::Whole(None),
        _ => Head::Broken,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(peer: &str, lists: &[&str]) -> String {
        let trusted: Vec<IpNet> =
            ["127.0.0.1/32", "10.0.0.0/8", "::1/128", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(list.as_bytes()).unwrap());
        }
        client(&trusted, ip(peer), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(from("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(from("127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("::ffff:127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(from("127.0.0.1", &[]), "127.0.0.1");
        let nobody = client(&[], ip("127.0.0.1"), &HeaderMap::new());
        assert_eq!(nobody, ip("127.0.0.1"));
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_clients() {
        // What stands before it the client may have written itself.
        assert_eq!(from("127.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.3"]), "198.51.100.7");
        assert_eq!(from("127.0.0.1", &["1.1.1.1", "198.51.100.7,10.0.0.3", "10.2.0.1"]), "198.51.100.7");
        assert_eq!(
            from("127.0.0.1", &["10.0.0.2, 10.0.0.3"]),
            "10.0.0.2",
            "all are trusted: the first of them"
        );
    }

    #[test]
    fn what_cannot_be_read_ends_the_search_at_the_last_good_one() {
        for broken in
            ["", "unknown", "1.2.3", "1.2.3.4.5", "999.1.1.1", "_hidden", "é", "1.1.1.1 2.2.2.2", "[::1"]
        {
            assert_eq!(from("127.0.0.1", &[&format!("198.51.100.7, {broken}")]), "127.0.0.1", "{broken}");
            assert_eq!(
                from("127.0.0.1", &[&format!("198.51.100.7, {broken}, 10.0.0.3")]),
                "10.0.0.3",
                "{broken}"
            );
        }
    }

    #[test]
    fn an_address_may_have_a_port_and_brackets() {
        for (text, address) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(from("127.0.0.1", &[text]), address);
        }
    }

    #[test]
    fn a_long_list_is_not_read_to_its_end() {
        let list = "198.51.100.7, ".to_owned() + &["10.0.0.1"; 100].join(", ");
        assert_eq!(from("127.0.0.1", &[&list]), "10.0.0.1");
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    /// Reads it as a listener does, and never a byte behind it.
    fn read(bytes: &[u8]) -> Head {
        let mut read = 0;
        loop {
            match head(&bytes[..read]) {
                Head::More(more) => {
                    assert!(more > 0);
                    read += more;
                    if read > bytes.len() {
                        return Head::More(read - bytes.len());
                    }
                }
                Head::Whole(source) => {
                    assert_eq!(read, bytes.len(), "all of it, and nothing behind it");
                    return Head::Whole(source);
                }
                Head::Broken => return Head::Broken,
            }
        }
    }

    #[test]
    fn heads_of_both_versions_name_the_source() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 0x1f, 0x90];
        let v6 = ["2001:db8::7", "::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets()).concat();
        let v6 = [&v6[..], &[0x12, 0x67, 0x1f, 0x90]].concat();
        let some = |text: &str| Head::Whole(Some(ip(text)));
        assert_eq!(read(&v2(0x21, 0x11, &v4)), some("198.51.100.7"));
        assert_eq!(read(&v2(0x21, 0x21, &v6)), some("2001:db8::7"));
        let with_more = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
        assert_eq!(read(&v2(0x21, 0x11, &with_more)), some("198.51.100.7"));
        assert_eq!(read(&v2(0x20, 0x00, &[])), Head::Whole(None), "LOCAL");
        assert_eq!(read(&v2(0x20, 0x11, &v4)), Head::Whole(None), "LOCAL, whatever it says");
        assert_eq!(read(&v2(0x21, 0x00, &[])), Head::Whole(None));
        assert_eq!(read(b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 8080\r\n"), some("198.51.100.7"));
        assert_eq!(read(b"PROXY TCP6 2001:db8::7 ::1 4711 8080\r\n"), some("2001:db8::7"));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Head::Whole(None));
        assert_eq!(read(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Head::Whole(None));
    }

    #[test]
    fn anything_else_is_none() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 0x1f, 0x90];
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80800\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 ::1 4711 8080\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7  10.0.0.1 4711 8080\r\n".to_vec(),
            b"PROXY UDP4 198.51.100.7 10.0.0.1 4711 8080\r\n".to_vec(),
            b"PROXY TCP4 198.51.100.7\n10.0.0.1 4711 8080\r\n".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            v2(0x22, 0x11, &v4),
            v2(0x11, 0x11, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x11, &[0; limits::PROXY_HEAD_BYTES]),
        ] {
            assert_eq!(read(&bytes), Head::Broken, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn no_bytes_make_it_panic_or_read_without_end(
            start in prop_oneof![Just(&b""[..]), Just(V1), Just(V2), Just(&b"PROXY TCP4 "[..])],
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &bytes].concat();
            for end in 0..bytes.len() {
                if let Head::More(more) = head(&bytes[..end]) {
                    prop_assert!(more > 0 && end + more <= limits::PROXY_HEAD_BYTES);
                }
            }
        }

        #[test]
        fn no_header_makes_it_panic(list in "[0-9a-f.:,\\[\\] x]{0,60}") {
            from("127.0.0.1", &[&list]);
        }
    }
}
