//! TLS for a loopback venue: an authority made at the start, its certificate written where a client can find it.
//!
//! In: a directory. Out: `ca.pem` there and a server configuration for `localhost` and `127.0.0.1`. Never: a private
//! key on disk.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::sync::Arc;

/// File name of the authority's certificate.
pub const AUTHORITY: &str = "ca.pem";

/// Makes an authority, writes its certificate into `dir`, and issues the server's own.
pub(crate) fn authority(dir: &Path) -> Result<Arc<ServerConfig>> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "keel simulated exchange");
    let ca_certificate = ca.self_signed(&ca_key)?;
    let path = dir.join(AUTHORITY);
    std::fs::write(&path, ca_certificate.pem()).with_context(|| format!("writing {}", path.display()))?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let issuer = Issuer::new(ca, ca_key);
    let certificate = leaf.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone(), ca_certificate.der().clone()], private)?;
    Ok(Arc::new(config))
}
