//! The server's own port: accepts TCP, speaks HTTP/1.1 until the upgrade.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::metrics::{Metrics, Refused};
use crate::proxy::{self, Head};
use crate::{address, limits};

/// Listens on the first address of a host that can be had. As tokio does it, but with a longer queue for connections that
/// nobody has accepted yet: 128 of them are too few when everybody comes back at once.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in lookup_host((host, port)).await? {
        let listener = (|| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A port that was ours a moment ago can be ours again; on Windows it would mean that others can take it.
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(limits::LISTEN_BACKLOG)
        })();
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Accepts until `stop` changes or its sender is gone; then every connection that is still plain HTTP is dropped. Upgraded
/// ones live on in tasks of their own. Connections from `proxies` begin with a head of the PROXY protocol, all others do not.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    proxies: Arc<[IpNet]>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let handshakes = Arc::new(Handshakes::default());
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => return,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Beyond the bounds the newcomer is dropped: whoever floods pays, and nobody waits in a queue.
                match handshakes.take(peer.ip()) {
                    Some(place) if proxy::is_trusted(&proxies, peer.ip()) => {
                        tasks.spawn(serve_proxied(stream, peer, router.clone(), place));
                    }
                    Some(place) => _ = tasks.spawn(serve_http(stream, peer, router.clone(), place)),
                    None => metrics.connections_refused.of(Refused::Busy).increment(1),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed; going on");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that a proxy makes for somebody.
async fn serve_proxied(mut stream: TcpStream, proxy: SocketAddr, router: Router, place: Place) {
    let head = tokio::time::timeout(limits::REQUEST_HEAD_WAIT, read_head(&mut stream)).await;
    let Ok(Ok(source)) = head else {
        tracing::debug!(%proxy, "a connection of a trusted proxy without a head of the PROXY protocol was dropped");
        return;
    };
    // Its port we do not need.
    let peer = source.map_or(proxy, |source| SocketAddr::new(source, 0));
    // From here on it counts for whose it is, not for the proxy.
    let handshakes = Arc::clone(&place.handshakes);
    drop(place);
    if let Some(place) = handshakes.take(peer.ip()) {
        serve_http(stream, peer, router, place).await;
    }
}

/// Reads the head of the PROXY protocol and nothing behind it: for whom the proxy speaks, if for anybody.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut read = Vec::new();
    loop {
        match proxy::head(&read) {
            Head::More(more) => {
                let known = read.len();
                read.resize(known + more, 0);
                stream.read_exact(&mut read[known..]).await?;
            }
            Head::Whole(source) => return Ok(source),
            Head::Broken => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

async fn serve_http(stream: TcpStream, peer: SocketAddr, router: Router, place: Place) {
    // Small answers shall not wait for more; a socket that refuses the option works without.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move {
            use tower_service::Service;
            router.call(Request::from(request.map(axum::body::Body::new))).await
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_HEAD_WAIT)
        .max_buf_size(limits::REQUEST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // A client that breaks off or sends nonsense has been answered by hyper; its mistakes are not ours to report.
    if let Err(error) = connection.await {
        tracing::trace!(%error, %peer, "HTTP connection ended");
    }
    drop(place);
}

/// How many connections are in their HTTP phase, in all and by address.
#[derive(Default)]
struct Handshakes {
    by_address: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// A place among them.
struct Place {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
}

impl Handshakes {
    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address::block(address);
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_address) = &mut *counts;
        let own = by_address.get(&address).copied().unwrap_or(0);
        if *total >= limits::HANDSHAKES || own >= limits::HANDSHAKES_PER_ADDRESS {
            return None;
        }
        // Only now: nothing is kept of those who find no place, and they may be without number.
        by_address.insert(address, own + 1);
        *total += 1;
        Some(Place { handshakes: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.handshakes.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, by_address) = &mut *counts;
        *total -= 1;
        if let Some(own) = by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_whoever_finds_no_place() {
        let handshakes = Arc::new(Handshakes::default());
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let places: Vec<_> = (0..limits::HANDSHAKES + 100).map(|n| handshakes.take(address(n))).collect();
        assert_eq!(places.iter().flatten().count(), limits::HANDSHAKES);
        drop(places);
        let own: Vec<_> = (0..limits::HANDSHAKES).map_while(|_| handshakes.take(address(0))).collect();
        assert_eq!(own.len(), limits::HANDSHAKES_PER_ADDRESS);
        drop(own);
        let counts = handshakes.by_address.lock().unwrap();
        assert_eq!((counts.0, counts.1.len()), (0, 0));
    }
}
