//! A bucket of an S3-compatible store as a vault: objects under retention lock, each read back before it counts.
//!
//! `object_store` knows endpoints, credentials and signatures (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
//! `AWS_ENDPOINT_URL`, ...); the requests go through the client keel has already. The bucket must have been made with
//! object lock; the lock is asked for with each object, in compliance mode, and its date read back: a store that ignores
//! the wish is an error, not a copy.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context as Task, Poll, Waker};
use keel_core::units::Wall;
use keel_journal::retain::Vault;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer};
use sha2::{Digest, Sha256};
use std::io::{self, Error};
use std::time::Duration;
use ureq::{Agent, Body};

/// How long a signed request may be under way.
const PATIENCE: Duration = Duration::from_secs(300);
/// Largest object read back: a compressed segment is smaller than the largest segment.
const LARGEST: u64 = keel_journal::segment::MAX_BYTES;

/// A bucket and a prefix in it.
#[derive(Debug)]
pub(super) struct Bucket {
    place: String,
    prefix: String,
    store: AmazonS3,
    agent: Agent,
}

impl Bucket {
    pub(super) fn open(place: &str) -> Result<Self> {
        let rest = place.strip_prefix("s3://").unwrap_or(place);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(!bucket.is_empty() && !place.contains(char::is_whitespace), "{place}: s3://bucket/prefix is meant");
        let http = std::env::vars().any(|(name, url)| name.starts_with("AWS_ENDPOINT") && url.starts_with("http://"));
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(http)
            .with_http_connector(NoTransport)
            .build();
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        Ok(Self {
            place: place.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            store: store.with_context(|| place.to_owned())?,
            agent: agent.new_agent(),
        })
    }

    fn signed(&self, method: Method, name: &str, headers: &[(&str, String)]) -> io::Result<String> {
        let path = Path::from(format!("{}/{name}", self.prefix));
        let mut options = SignedUrlOptions::default();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(Error::other)?;
            options = options.with_signed_header(name, HeaderValue::from_str(value).map_err(Error::other)?);
        }
        let url = now(self.store.signed_url_opts(method, &path, PATIENCE, &options))?;
        Ok(url.map_err(Error::other)?.to_string())
    }

    /// An object, and until when its lock in compliance mode holds; `None` when there is no such object.
    fn get(&self, name: &str) -> io::Result<Option<(Vec<u8>, String)>> {
        let answer = self.agent.get(self.signed(Method::GET, name, &[])?).call().map_err(Error::other)?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let locked = header("x-amz-object-lock-mode") == "COMPLIANCE";
        let until = if locked { header("x-amz-object-lock-retain-until-date").to_owned() } else { String::new() };
        Ok(Some((body(answer)?, until)))
    }
}

/// The body of a good answer; of any other, what the store says about it.
fn body(mut answer: ureq::http::Response<Body>) -> io::Result<Vec<u8>> {
    let status = answer.status();
    let bytes = answer.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(Error::other)?;
    if status.is_success() {
        return Ok(bytes);
    }
    let said = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    Err(Error::other(format!("the store answers {status}: {said}")))
}

/// `object_store` signs here and sends nothing: only credentials that are fetched over HTTP would want it to.
#[derive(Debug)]
struct NoTransport;

impl HttpConnector for NoTransport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self))
    }
}

impl HttpService for NoTransport {
    fn call<'a, 'b>(
        &'a self,
        _: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = core::result::Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let why = Error::other("credentials must stand in the environment");
        Box::pin(core::future::ready(Err(HttpError::new(HttpErrorKind::Decode, why))))
    }
}

/// Signing with keys from the environment waits for nothing; credentials that must be fetched first are not supported.
fn now<T>(future: impl Future<Output = T>) -> io::Result<T> {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(Error::other("credentials must stand in the environment")),
    }
}

impl Vault for Bucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn keep(&mut self, name: &str, bytes: &[u8], until: Option<Wall>) -> io::Result<()> {
        let until = until.ok_or_else(|| Error::other("a retention lock needs a date: --keep-years"))?;
        let seconds = crate::moment::seconds(until).ok_or_else(|| Error::other("no such date"))?;
        let headers = [
            ("x-amz-object-lock-mode", "COMPLIANCE".to_owned()),
            ("x-amz-object-lock-retain-until-date", seconds.clone()),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(Sha256::digest(bytes))),
        ];
        let mut request = self.agent.put(self.signed(Method::PUT, name, &headers)?);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        body(request.send(bytes).map_err(Error::other)?)?;
        let Some((there, lock)) = self.get(name)?.filter(|(there, _)| there == bytes) else {
            return Err(Error::from(io::ErrorKind::InvalidData));
        };
        drop(there);
        // both are RFC 3339 in UTC: as far as the seconds they compare as text
        match lock.get(..19) {
            Some(date) if *date >= seconds[..19] => Ok(()),
            _ => Err(Error::other(format!("no retention lock until {seconds}, but {lock:?}"))),
        }
    }

    fn holds(&mut self, name: &str, sha256: &[u8; 32]) -> io::Result<bool> {
        Ok(self.get(name)?.is_some_and(|(bytes, _)| <[u8; 32]>::from(Sha256::digest(&bytes)) == *sha256))
    }
}
