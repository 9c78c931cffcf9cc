//! A TCP socket that knows when the kernel received what it hands over.
//!
//! In: a connected socket. Out: its bytes, and how long the last of them lay in the kernel. Never: a byte lost or held back
//! for a stamp; where the socket gives none (no support, or not switched on) it is a plain socket.
//!
//! ```text
//!   NIC -> softirq: stamp (SO_TIMESTAMPNS, wall clock) -> socket buffer --recvmsg--> TLS -> frame
//!                     ^------------------- waited -------------------^
//! ```

use super::clock::system_wall;
use mio::net::TcpStream;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns};
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;

/// The socket.
#[derive(Debug)]
pub(super) struct Stamped {
    tcp: TcpStream,
    /// Room for one control message; empty when stamps are off.
    control: Vec<u8>,
    waited: Option<u64>,
}

impl Stamped {
    /// Asks the kernel for stamps when `on`; one that has none is read plainly.
    pub(super) fn new(tcp: TcpStream, on: bool) -> Self {
        let on = on && setsockopt(&tcp, ReceiveTimestampns, &true).is_ok();
        let control = if on { nix::cmsg_space!(nix::sys::time::TimeSpec) } else { Vec::new() };
        Self { tcp, control, waited: None }
    }

    /// Nanoseconds the bytes of the last read waited in the kernel, once.
    pub(super) const fn waited(&mut self) -> Option<u64> {
        self.waited.take()
    }

    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let fd = self.tcp.as_raw_fd();
        let mut slices = [IoSliceMut::new(into)];
        let received = recvmsg::<()>(fd, &mut slices, Some(&mut self.control), MsgFlags::empty())?;
        let now = system_wall();
        for message in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmTimestampns(stamp) = message {
                let nanos = stamp.tv_sec().cast_unsigned() * 1_000_000_000 + stamp.tv_nsec().cast_unsigned();
                self.waited = Some(now.nanos().saturating_sub(nanos));
            }
        }
        Ok(received.bytes)
    }
}

impl Read for Stamped {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.control.is_empty() { self.tcp.read(into) } else { self.receive(into) }
    }
}

impl Write for Stamped {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.tcp.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn pair(on: bool) -> (std::net::TcpStream, Stamped) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_nodelay(true).unwrap();
        (far, Stamped::new(TcpStream::from_std(near), on))
    }

    #[allow(clippy::disallowed_methods, reason = "a test that waits for a kernel")]
    fn read(socket: &mut Stamped, into: &mut [u8]) -> usize {
        let start = Instant::now();
        loop {
            match socket.read(into) {
                Ok(count) => return count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            assert!(start.elapsed() < Duration::from_secs(10), "nothing came");
        }
    }

    #[test]
    fn bytes_that_lay_in_the_kernel_say_how_long() {
        let (mut far, mut socket) = pair(true);
        let mut bytes = [0; 64];
        assert_eq!(socket.read(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        far.write_all(b"hello").unwrap();
        std::thread::park_timeout(Duration::from_millis(30));
        assert_eq!((read(&mut socket, &mut bytes), &bytes[..5]), (5, &b"hello"[..]));
        if let Some(waited) = socket.waited() {
            assert!((1_000_000..10_000_000_000).contains(&waited), "{waited} ns");
            assert_eq!(socket.waited(), None, "said once");
        } else {
            println!("SKIPPED: this kernel stamps no TCP bytes");
        }
        drop(far);
        assert_eq!(read(&mut socket, &mut bytes), 0, "the end is the end");
    }

    #[test]
    fn without_stamps_it_is_a_plain_socket() {
        let (mut far, mut socket) = pair(false);
        far.write_all(b"hello").unwrap();
        let mut bytes = [0; 64];
        assert_eq!(read(&mut socket, &mut bytes), 5);
        assert_eq!(socket.waited(), None);
    }
}
