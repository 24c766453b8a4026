//! stub
use std::{io, net::TcpListener, process::ExitCode};
pub(crate) fn bare_loop(_: TcpListener) -> io::Result<ExitCode> { todo!() }
pub(crate) fn bare_relay(_: TcpListener) -> io::Result<ExitCode> { todo!() }
pub(crate) fn bare_accept(_: TcpListener) -> io::Result<ExitCode> { todo!() }
