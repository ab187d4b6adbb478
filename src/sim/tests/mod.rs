//! The simulator over real sockets, spoken to byte by byte: no HTTP client stands between what it sends and what is
//! checked here.

mod api;
mod broken;
mod raw;
mod streams;
