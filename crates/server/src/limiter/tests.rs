use super::*;
use crate::connection::Outbox;
use crate::registry::{Registry, Seat};

fn limiter(change: impl FnOnce(&mut RateLimit)) -> Arc<Limiter> {
    let mut config = crate::Config::default().rate_limit;
    config.max_requests = Some(2);
    config.window_ms = 1000;
    change(&mut config);
    Arc::new(Limiter::new(&config).unwrap())
}

/// A connection from an address.
struct Client {
    seat: Seat,
    pass: Option<Pass>,
}

impl Client {
    fn new(limiter: &Arc<Limiter>, address: &str) -> Self {
        let address = address.parse().unwrap();
        let seat =
            Arc::new(Registry::default()).admit(address, 0, None, Arc::new(Outbox::default())).unwrap();
        Self { seat, pass: limiter.pass(address) }
    }

    fn ask(&mut self) -> bool {
        let pass = self.pass.as_mut();
        pass.is_none_or(|pass| {
            pass.charge(self.seat.entry(), Some(dunlin_protocol::Kind::Get), &mut Moment::default()).is_ok()
        })
    }

    /// How many of ten pass.
    fn ask_ten(&mut self) -> usize {
        (0..10).filter(|_| self.ask()).count()
    }

    fn log_in(&self, user: &str) {
        self.seat.entry().session.store(Some(Arc::new(Session::new(user))));
    }
}

async fn later(ms: u64) {
    tokio::time::advance(std::time::Duration::from_millis(ms)).await;
}

#[test]
fn there_is_none_unless_it_is_configured() {
    assert!(Limiter::new(&crate::Config::default().rate_limit).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_an_addresss_before_a_login_and_the_users_after_it() {
    let limiter = limiter(|_| {});
    let (mut one, mut same) = (Client::new(&limiter, "192.0.2.1"), Client::new(&limiter, "::ffff:192.0.2.1"));
    let mut other = Client::new(&limiter, "192.0.2.2");
    assert_eq!([one.ask(), same.ask(), one.ask(), same.ask()], [true, true, false, false]);
    assert_eq!(other.ask_ten(), 2);
    // Called like an address: another name space.
    one.log_in("192.0.2.2");
    other.log_in("192.0.2.2");
    assert_eq!([one.ask(), other.ask(), one.ask(), other.ask()], [true, true, false, false]);
    one.seat.entry().session.store(None);
    assert!(!one.ask(), "logged out, it is the address's again");
    one.log_in("ada");
    assert_eq!(one.ask_ten(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_exempt_is_not_limited() {
    let limiter = limiter(|config| config.allow = vec!["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(Client::new(&limiter, "10.1.2.3").ask_ten(), 10);
    assert_eq!(Client::new(&limiter, "::ffff:10.1.2.3").ask_ten(), 10);
    assert_eq!(Client::new(&limiter, "11.1.2.3").ask_ten(), 2);
}

#[tokio::test(start_paused = true)]
async fn idle_accounts_are_forgotten_also_by_those_who_hold_them() {
    let limiter = limiter(|_| {});
    let (mut one, mut same) = (Client::new(&limiter, "192.0.2.1"), Client::new(&limiter, "192.0.2.1"));
    assert!(one.ask());
    later(500).await;
    assert!(same.ask());
    later(999).await;
    assert_eq!(limiter.sweep(), 1, "one request is still in the window");
    later(1).await;
    assert_eq!(limiter.sweep(), 0);
    assert_eq!(limiter.accounts.len(), 0);
    // Both come back to one new account.
    assert_eq!([one.ask(), same.ask(), one.ask(), same.ask()], [true, true, false, false]);
    assert_eq!(limiter.sweep(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_addresses_shares_one_budget_and_drives_nobody_out() {
    let limiter = limiter(|config| config.max_keys = 3);
    let mut known = Client::new(&limiter, "192.0.2.1");
    assert!(known.ask());
    let passed: usize = (0..200).map(|n| Client::new(&limiter, &format!("198.51.100.{n}")).ask_ten()).sum();
    assert_eq!(passed, 2 * 2 + 2, "two found room, the others share");
    assert_eq!(limiter.accounts.len(), 3);
    assert_eq!(known.ask_ten(), 1, "what was counted for an honest one is still counted");
    // There is room again, but who comes may have been among the others a moment ago.
    later(600).await;
    assert_eq!(Client::new(&limiter, "198.51.100.99").ask_ten(), 0);
    later(400).await;
    limiter.sweep();
    assert_eq!(Client::new(&limiter, "198.51.100.99").ask_ten(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_had_to_share_gets_an_account_when_there_is_room() {
    let limiter = limiter(|config| config.max_keys = 1);
    let mut first = Client::new(&limiter, "192.0.2.1");
    assert_eq!(first.ask_ten(), 2);
    later(900).await;
    let (mut second, mut third) = (Client::new(&limiter, "192.0.2.2"), Client::new(&limiter, "192.0.2.3"));
    assert!(second.ask());
    later(100).await;
    limiter.sweep();
    // The second has used one of the shared two; it has not got two more by moving.
    assert_eq!(second.ask_ten(), 1);
    assert_eq!(third.ask_ten(), 1, "the shared one is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_addresses_take_no_more_than_32_megabytes() {
    // With a burst, which is a second log.
    let limiter = limiter(|config| config.burst.max_requests = Some(1));
    for n in 0..120_000u32 {
        let key = Key::address(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
        limiter.account(key, limiter.now()).charge(&limiter.budget, limiter.now(), 1);
    }
    assert_eq!(limiter.accounts.len(), 100_000);
    // What the allocator is asked for, and 16 bytes that it takes for each piece. A table is never fuller than 7/8, and
    // is twice as large for a moment when it grows; `capacity` leaves the eighth out.
    let piece = 16;
    let logs: usize = limiter.accounts.iter().map(|account| account.heap_bytes() + 2 * piece).sum();
    let accounts = 100_000 * (size_of::<Account>() + 2 * size_of::<usize>() + piece);
    let slot = size_of::<(Key, Arc<Account>)>() + 1;
    let table = limiter.accounts.capacity() * 8 / 7 * slot;
    let bytes = logs + accounts + table;
    println!("100,000 addresses: {bytes} bytes (logs {logs}, accounts {accounts}, table {table})");
    assert!(bytes <= 32_000_000, "{bytes} bytes");
}
