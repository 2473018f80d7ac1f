//! `/metrics` of a server, for scenarios in which it knows better than its clients.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Doing, Failure, Outcome};

/// It looks at every connection, of which there are ten thousand at most.
const LIMIT: Duration = Duration::from_secs(10);

/// Pause between two looks, while something is waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// The sum of all series of one name.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> Outcome<f64> {
    let reading = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let answer = timeout(LIMIT, reading).await.map_err(|_| Failure::new("no metrics in time"))?;
    let answer = answer.doing(|| "cannot read the metrics".into())?;
    sum(&answer, name).ok_or_else(|| Failure::new(format!("no metric is called {name}")))
}

/// Waits until a metric has this value, or more; the last one seen, whatever it is, after `limit`.
pub(crate) async fn reaches(address: SocketAddr, name: &str, value: f64, limit: Duration) -> Outcome<f64> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = metric(address, name).await?;
        if seen >= value || Instant::now() >= deadline {
            return Ok(seen);
        }
        sleep(PAUSE).await;
    }
}

fn sum(text: &str, name: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let lines = lines.filter(|rest| rest.starts_with(['{', ' ']));
    let values = lines.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_added_and_others_are_not() {
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\na_total 7\nb 1.5\n";
        assert_eq!((sum(text, "a"), sum(text, "b"), sum(text, "c")), (Some(5.0), Some(1.5), None));
    }
}
