//! Listening.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the system accepts on our behalf before we do: the usual 128 costs a burst of a thousand
/// connections a second, the time of a retransmission.
const BACKLOG: i32 = 4096;

/// Opens a listener for [`serve`](crate::serve).
///
/// # Errors
/// As the system says; [`io::ErrorKind::AddrInUse`] when the port is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before; two servers on one port stay an error.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
