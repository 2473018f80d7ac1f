//! What the program says of itself: the banner at the start, and the values that `check` shows.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::net::SocketAddr;

use dunlin::Server;
use dunlin::config::{Config, Loaded, StorageKind};

/// The banner, one fact a line, colour only on a terminal.
pub(super) fn banner(config: &Config, server: &Server, address: SocketAddr) -> String {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let storage = server.storage();
    let data = match &storage.dir {
        Some(dir) => dir.canonicalize().unwrap_or_else(|_| dir.clone()).display().to_string(),
        None => "in memory".to_owned(),
    };
    let monitoring = server.monitoring_addr().unwrap_or(address);
    let facts = [
        ("Clients", format!("ws://{address}{}", config.path)),
        ("Monitoring", format!("http://{monitoring}/health  /ready  /metrics")),
        ("Data", data),
        ("Durability", storage.durability.clone()),
        ("Login", login(config)),
        ("Rules", rules(config)),
        ("Origins", origins(config)),
        ("Per address", per_address(config)),
        ("Error details", if config.expose_error_details { "shown to clients" } else { "hidden" }.to_owned()),
    ];
    let mut text = format!("{bold}dunlin {}{plain}\n", env!("CARGO_PKG_VERSION"));
    for (name, fact) in facts {
        // Writing to a String cannot fail; here and below.
        let _ = writeln!(text, "  {name:<14} {fact}");
    }
    if !address.ip().is_loopback() && !has_logins(config) {
        let _ = writeln!(
            text,
            "  {bold}Note{plain}           {} is reachable from other machines, and there is no login",
            address.ip()
        );
    }
    if config.storage.kind == StorageKind::Memory {
        let _ = writeln!(text, "  {bold}Note{plain}           data is gone when the program ends");
    }
    text
}

fn rules(config: &Config) -> String {
    let rules = &config.rules;
    if !rules.enabled {
        return "off".to_owned();
    }
    match rules.webhooks.allow.as_slice() {
        [] => "on, without webhooks".to_owned(),
        allowed => format!("on, webhooks to {}", allowed.join(", ")),
    }
}

fn login(config: &Config) -> String {
    let auth = &config.auth;
    let tokens = auth.tokens.as_ref().map(|tokens| format!("one of {} tokens", tokens.len()));
    let signed = is_signed(config).then(|| "signed tokens".to_owned());
    let asked = auth.webhook.url.as_ref().map(|_| "a webhook".to_owned());
    let ways: Vec<String> = [tokens, signed, asked].into_iter().flatten().collect();
    if ways.is_empty() {
        return "off: every client may do everything".to_owned();
    }
    let known = format!("by {}", ways.join(", "));
    if auth.required.unwrap_or(true) {
        return format!("{known}, required");
    }
    format!("{known}, or none as {}", auth.anonymous.as_deref().unwrap_or("writer"))
}

fn is_signed(config: &Config) -> bool {
    let jwt = &config.auth.jwt;
    jwt.secret.is_some()
        || jwt.secret_file.is_some()
        || jwt.public_key_file.is_some()
        || jwt.jwks_file.is_some()
}

fn has_logins(config: &Config) -> bool {
    config.auth.tokens.is_some() || is_signed(config) || config.auth.webhook.url.is_some()
}

fn origins(config: &Config) -> String {
    match &config.allowed_origins {
        None => "any".to_owned(),
        Some(origins) if origins.is_empty() => "no browser".to_owned(),
        Some(origins) => origins.join(", "),
    }
}

fn per_address(config: &Config) -> String {
    match config.max_connections_per_ip {
        None => "any number of connections".to_owned(),
        Some(most) => format!("at most {most} connections"),
    }
}

/// Every key with its value and where it came from.
pub(super) fn settings(loaded: &Loaded) -> String {
    let mut text = "The configuration is sound.\n".to_owned();
    let settings = loaded.settings();
    let width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    for setting in settings {
        let _ = writeln!(text, "  {:<width$}  {}  ({})", setting.key, setting.value, setting.origin);
    }
    text
}
