//! Is anybody there? A clock of the driver's own, so that no slow request can make a healthy connection look dead.

use std::time::Duration;

use tokio::time::Instant;

/// Interval and patience, as configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// From one ping to the next.
    pub(crate) interval: Duration,
    /// From a ping to the close, if nothing at all came in.
    pub(crate) timeout: Duration,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Send a ping.
    Ping,
    /// Nothing to do but wait for the next deadline.
    Rest,
    /// Nobody is there.
    Dead,
}

/// Pings every interval; after each ping the socket must show a sign of life within the timeout. Any traffic is one: the
/// client's clock and the content of its pongs are not looked at.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    rhythm: Rhythm,
    last_ping: Instant,
    /// Bytes moved when the unanswered ping was sent.
    asked_at: Option<u64>,
}

impl Heartbeat {
    pub(crate) fn new(rhythm: Rhythm, now: Instant) -> Self {
        Self { rhythm, last_ping: now, asked_at: None }
    }

    /// When [`beat`](Self::beat) wants to be called next.
    pub(crate) fn deadline(&self) -> Instant {
        let wait = if self.asked_at.is_some() { self.rhythm.timeout } else { self.rhythm.interval };
        self.last_ping + wait
    }

    /// Call at the deadline. `life` is a count that grows with every sign of life.
    pub(crate) fn beat(&mut self, now: Instant, life: u64) -> Beat {
        match self.asked_at {
            Some(asked) if asked == life => Beat::Dead,
            Some(_) => {
                self.asked_at = None;
                if now < self.deadline() { Beat::Rest } else { self.ping(now, life) }
            }
            None => self.ping(now, life),
        }
    }

    /// Call instead where nobody can be asked: what waits for the socket would go before the ping. The next one is an
    /// interval away.
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.last_ping = now;
        self.asked_at = None;
    }

    fn ping(&mut self, now: Instant, life: u64) -> Beat {
        self.last_ping = now;
        self.asked_at = Some(life);
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm =
        Rhythm { interval: Duration::from_millis(100), timeout: Duration::from_millis(40) };

    /// Runs to `end` ms with `life(ms)` as the sign of life; returns what happened when.
    fn run(rhythm: Rhythm, end: u64, life: impl Fn(u64) -> u64) -> Vec<(u64, Beat)> {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(rhythm, start);
        let mut events = Vec::new();
        loop {
            let now = heartbeat.deadline();
            let ms = u64::try_from((now - start).as_millis()).unwrap();
            if ms > end {
                return events;
            }
            let beat = heartbeat.beat(now, life(ms));
            let dead = beat == Beat::Dead;
            events.push((ms, beat));
            if dead {
                return events;
            }
        }
    }

    #[test]
    fn silence_after_a_ping_is_death_after_the_timeout() {
        assert_eq!(run(RHYTHM, 1000, |_| 0), [(100, Beat::Ping), (140, Beat::Dead)]);
    }

    #[test]
    fn any_traffic_after_the_ping_is_life() {
        let events = run(RHYTHM, 350, |ms| ms);
        let pings: Vec<u64> =
            events.iter().filter(|(_, beat)| *beat == Beat::Ping).map(|(ms, _)| *ms).collect();
        assert_eq!(pings, [100, 200, 300]);
        assert!(events.iter().all(|(_, beat)| *beat != Beat::Dead));
    }

    #[test]
    fn whoever_could_not_be_asked_is_not_dead() {
        let mut heartbeat = Heartbeat::new(RHYTHM, Instant::now());
        let asked = heartbeat.deadline();
        assert_eq!(heartbeat.beat(asked, 0), Beat::Ping);
        let late = heartbeat.deadline();
        heartbeat.put_off(late);
        assert_eq!(heartbeat.deadline(), late + RHYTHM.interval);
        assert_eq!(heartbeat.beat(heartbeat.deadline(), 0), Beat::Ping);
    }

    #[test]
    fn a_timeout_longer_than_the_interval_is_waited_out() {
        let patient = Rhythm { interval: Duration::from_millis(20), timeout: Duration::from_millis(50) };
        let late = |ms| u64::from(ms >= 65);
        assert_eq!(run(patient, 75, late), [(20, Beat::Ping), (70, Beat::Ping)]);
    }
}
