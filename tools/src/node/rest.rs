//! REST: blocking requests, on a thread that may block.
//!
//! In: signed requests. Out: status and body, or a sentence. Never on the hot path: the orders agent pushes a request
//! onto a ring and finds the answer on another.

use super::{Part, Report};
use anyhow::{Context, Result};
use keel_core::agent::Agent;
use keel_core::ring::{Consumer, Producer};
use keel_core::units::{Now, Wall};
use keel_gateway::gateway::RateHeader;
use keel_gateway::rest::{Method, Request};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// Longest answer read; a longer one is an error.
pub const MAX_BODY: u64 = 16 << 20;
/// How long one request may take, all in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Status reported when no answer came: connection refused, time-out, TLS refused.
pub const NO_ANSWER: u16 = 0;

/// An agent that trusts the web's roots, or only `authority`, follows nothing, and takes every status for an answer.
pub fn agent(authority: Option<&Path>, patience: Duration) -> Result<ureq::Agent> {
    let roots = match authority {
        None => RootCerts::WebPki,
        Some(path) => {
            let pem = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let authority =
                Certificate::from_pem(&pem).with_context(|| format!("{} is not a certificate", path.display()))?;
            RootCerts::new_with_certs(&[authority])
        }
    };
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(roots)
        .build();
    Ok(ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .max_redirects(0)
        .user_agent("keel")
        .build()
        .new_agent())
}

/// A client of one venue.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    /// Talks to `base`; trusts the web's roots, or only `authority`.
    pub fn new(base: &str, authority: Option<&Path>) -> Result<Self> {
        let agent = agent(authority, PATIENCE)?;
        Ok(Self { agent, base: base.trim_end_matches('/').to_owned() })
    }

    /// One request, one answer.
    pub fn call(&self, request: &Request) -> Result<Reply> {
        let url = format!("{}{}", self.base, request.path_and_query);
        let mut builder = ureq::http::Request::builder().uri(&url).method(match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
        });
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let sent = match request.method {
            Method::Get => self.agent.run(builder.body(())?),
            Method::Post => self.agent.run(builder.body(request.body.as_bytes())?),
        };
        let mut answer = sent.with_context(|| format!("asking {}{}", self.base, path_of(request)))?;
        let body = answer.body_mut().with_config().limit(MAX_BODY).read_to_vec();
        Ok(Reply {
            status: answer.status().as_u16(),
            rate: rate(answer.headers()),
            body: body.with_context(|| format!("reading the answer of {}", path_of(request)))?,
        })
    }
}

/// An answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// HTTP status, or [`NO_ANSWER`].
    pub status: u16,
    /// What the headers said of the rate limit.
    pub rate: RateHeader,
    /// Body; a sentence when there was no answer.
    pub body: Vec<u8>,
}

fn rate(headers: &ureq::http::HeaderMap) -> RateHeader {
    let number = |name| headers.get(name).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    let small = |name| u32::try_from(number(name)).unwrap_or(u32::MAX);
    RateHeader {
        limit: small("x-bapi-limit"),
        remaining: small("x-bapi-limit-status"),
        reset: Wall::from_millis(number("x-bapi-limit-reset-timestamp")),
    }
}

fn path_of(request: &Request) -> &str {
    request.path_and_query.split('?').next().unwrap_or("")
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// The gateway's name for it.
    pub token: u64,
    /// What to send.
    pub request: Request,
}

/// The answer.
#[derive(Debug)]
pub struct Answered {
    /// The gateway's name for it.
    pub token: u64,
    /// What came.
    pub reply: Reply,
}

/// The agent of the blocking thread.
#[derive(Debug)]
pub struct Courier {
    client: Client,
    asked: Consumer<Asked>,
    answered: Producer<Answered>,
}

impl Courier {
    /// Between these rings.
    #[must_use]
    pub const fn new(client: Client, asked: Consumer<Asked>, answered: Producer<Answered>) -> Self {
        Self { client, asked, answered }
    }
}

impl Agent for Courier {
    fn name(&self) -> &'static str {
        "rest"
    }

    fn duty(&mut self, _: Now) -> usize {
        if self.answered.room() == 0 {
            return 0;
        }
        let Some(asked) = self.asked.pop() else { return 0 };
        let reply = self.client.call(&asked.request).unwrap_or_else(|error| Reply {
            status: NO_ANSWER,
            body: format!("{error:#}").into_bytes(),
            ..Reply::default()
        });
        let _ = self.answered.push(Answered { token: asked.token, reply });
        1
    }
}

impl Part for Courier {
    fn finish(self: Box<Self>, _: &mut Report) {}
}
