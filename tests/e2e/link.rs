//! A connection to the API server that a test can cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Passes every connection on to a server.
pub struct Link {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    refuses: Arc<AtomicBool>,
}

impl Link {
    /// A new link to a server, on a free port of this machine.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let open = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&open);
        let refuses = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&refuses);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if refused.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(far) = TcpStream::connect(server) {
                    let _ = join(&near, &far, &kept);
                }
            }
        });
        Self {
            address,
            open,
            refuses,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every new connection is closed at once, or none any more.
    pub fn refuse(&self, is: bool) {
        self.refuses.store(is, Ordering::Relaxed);
    }

    /// Ends every connection. New ones work.
    pub fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn join(near: &TcpStream, far: &TcpStream, open: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.extend([near.try_clone()?, far.try_clone()?]);
    Ok(())
}
