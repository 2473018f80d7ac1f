//! What the tests of hostile and slow clients share: somebody innocent who is served meanwhile.

use dunlin_server::Server;
use tokio::sync::watch;

use super::{Innocent, define_items};

/// The usual buckets, and an innocent client that is being served.
pub async fn with_innocent(server: &Server) -> Innocent {
    define_items(server).await;
    let mut innocent = Innocent::connect(server).await;
    innocent.is_served().await;
    innocent
}

/// Keeps an innocent client busy until the returned sender says that it is enough.
pub fn keep_served(mut innocent: Innocent) -> (watch::Sender<bool>, tokio::task::JoinHandle<Innocent>) {
    let (enough, is_enough) = watch::channel(false);
    let task = tokio::spawn(async move {
        while !*is_enough.borrow() {
            innocent.is_served().await;
        }
        innocent
    });
    (enough, task)
}

pub fn announcing(first: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![first, 0xff];
    frame.extend(length.to_be_bytes());
    frame.extend([1, 2, 3, 4]);
    frame
}
