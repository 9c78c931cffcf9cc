//! Passwords, certificates, roles and versions: what is wrong is named, and nothing half-right is written.

use crate::history::journal;
use crate::keel::text;
use crate::loki::pair;
use crate::postgres::{Postgres, give};
use crate::ship::{is_whole, once, shipped};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Ends at once, with these words, and without a row.
fn refused(dir: &Path, url: &str, more: &[&str], words: &[&str]) {
    let output = once(dir, url, more);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("correct"), "{said}");
}

#[test]
fn a_wrong_password_and_a_role_without_rights_are_named() {
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE ROLE stranger LOGIN PASSWORD 'correct horse'; CREATE ROLE reader LOGIN PASSWORD 'correct horse' IN ROLE keel_read");
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 60, 100);
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "wrong\n").unwrap();
    let url = |user: &str| server.url().replace("shipper", user);
    let bare = format!("postgres://shipper@127.0.0.1:{}/postgres", server.port);
    refused(
        dir.path(),
        &bare,
        &["--postgres-secret", secret.to_str().unwrap()],
        &["28P01", "alarm raised: postgres denied"],
    );
    refused(dir.path(), &url("nobody"), &[], &["28P01"]);
    refused(dir.path(), &bare, &[], &["password"]);
    refused(dir.path(), &url("stranger"), &[], &["42501", "denied"]);
    refused(dir.path(), &url("reader"), &[], &["42501", "denied"]);
    refused(dir.path(), &server.url().replace("/postgres?", "/nowhere?"), &[], &["3D000"]);
    std::fs::write(&secret, "correct horse\n").unwrap();
    shipped(&once(dir.path(), &bare, &["--postgres-secret", secret.to_str().unwrap()]));
    is_whole(dir.path(), &server, 104);
}

#[test]
fn tables_of_another_version_are_not_written_to() {
    let Some(server) = Postgres::bare(&[]) else { return };
    server.sql("CREATE ROLE shipper LOGIN PASSWORD 'correct horse'");
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 61, 100);
    refused(dir.path(), &server.url(), &[], &["there is no schema keel", "deploy/postgres/apply"]);
    server.migrate();
    server.migrate();
    server.sql("GRANT keel_ship TO shipper; INSERT INTO keel.migration (version) VALUES (99)");
    refused(dir.path(), &server.url(), &[], &["version 99", "this keel is older"]);
    server.sql("DELETE FROM keel.migration");
    refused(dir.path(), &server.url(), &[], &["version 0", "deploy/postgres/apply"]);
    server.sql("INSERT INTO keel.migration (version) VALUES (1); ALTER TABLE keel.fill ADD COLUMN mood text");
    refused(dir.path(), &server.url(), &[], &["the columns of keel.fill"]);
    server.sql("ALTER TABLE keel.fill DROP COLUMN mood");
    shipped(&once(dir.path(), &server.url(), &[]));
    is_whole(dir.path(), &server, 104);
}

#[test]
fn the_server_proves_who_it_is_or_gets_nothing() {
    let keys = tempfile::tempdir().unwrap();
    std::fs::set_permissions(keys.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let (certificate, key) = pair();
    let put = |name: &str, text: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let (crt, pem) = (put("server.crt", &certificate), put("server.key", &key));
    let (ca, other) = (put("ca.pem", &certificate), put("other.pem", &pair().0));
    give(&crt);
    give(&pem);
    let settings =
        ["ssl=on".to_owned(), format!("ssl_cert_file={}", crt.display()), format!("ssl_key_file={}", pem.display())];
    let Some(server) = Postgres::with(&settings.each_ref().map(String::as_str)) else { return };
    let dir = tempfile::tempdir().unwrap();
    journal(dir.path(), 62, 100);
    let url = server.url().replace("disable", "require");
    let [ca, other] = [&ca, &other].map(|path| path.to_str().unwrap());
    refused(dir.path(), &url, &["--postgres-ca", other], &["certificate", "alarm raised: postgres denied"]);
    refused(dir.path(), &url, &[], &["certificate"]);
    shipped(&once(dir.path(), &url, &["--postgres-ca", ca]));
    is_whole(dir.path(), &server, 104);
    let Some(plain) = Postgres::start() else { return };
    refused(dir.path(), &plain.url().replace("disable", "require"), &["--postgres-ca", ca], &["TLS"]);
    // another machine is never spoken to in the clear, whatever the address says
    let far = server.url().replace("127.0.0.1", "192.0.2.1");
    refused(dir.path(), &far, &["--patience", "1", "--give-up", "0"], &["192.0.2.1"]);
}
