//! A proxy that breaks: it cuts a connection after so many bytes, lets bytes through slowly, or not at all.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
pub struct Knobs {
    /// A connection is cut after so many bytes in either direction together; 0 is never.
    pub cut_after: AtomicU64,
    /// Bytes a second towards the server; 0 is as fast as it goes.
    pub rate: AtomicU64,
    /// Connections are refused.
    pub closed: AtomicBool,
    /// Connections that were cut.
    pub cuts: AtomicU64,
    /// Bytes that went through.
    pub bytes: AtomicU64,
}

pub struct Proxy {
    pub port: u16,
    pub knobs: Arc<Knobs>,
}

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let knobs = Arc::new(Knobs::default());
        let shared = Arc::clone(&knobs);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let left = Arc::new(AtomicU64::new(shared.cut_after.load(Ordering::Relaxed)));
                for (from, to, slow) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (left, shared) = (Arc::clone(&left), Arc::clone(&shared));
                    std::thread::spawn(move || pump(from, to, &left, &shared, slow));
                }
            }
        });
        Self { port, knobs }
    }

    pub fn cut_after(&self, bytes: u64) {
        self.knobs.cut_after.store(bytes, Ordering::Relaxed);
    }

    pub fn cuts(&self) -> u64 {
        self.knobs.cuts.load(Ordering::Relaxed)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64, knobs: &Knobs, slow: bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let limited = knobs.cut_after.load(Ordering::Relaxed) > 0;
        let have = left.load(Ordering::Relaxed);
        let pass = if limited && have > 0 { count.min(usize::try_from(have).unwrap()) } else { count };
        let sent = to.write_all(&bytes[..pass]);
        knobs.bytes.fetch_add(pass as u64, Ordering::Relaxed);
        let rate = knobs.rate.load(Ordering::Relaxed);
        if slow && rate > 0 {
            std::thread::sleep(Duration::from_secs_f64(pass as f64 / rate as f64));
        }
        let spent = limited && have > 0 && left.fetch_sub((pass as u64).min(have), Ordering::Relaxed) <= pass as u64;
        if spent {
            knobs.cuts.fetch_add(1, Ordering::Relaxed);
        }
        if spent || sent.is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
