//! HTTP in, HTTP out: the outermost stage.
//!
//! Takes hyper's request, gives it an id, brings its path to one form, reads a JSON body whole (bounded,
//! timed, content decoding undone) or lets an upload stream, and turns every reply and every error into a
//! response. Refuses what is not under `/v1`, what is too large or too slow, and everything when the
//! gateway is full. Upgrades are joined here once the provider has said 101.

mod body;
mod layer;
mod path;
mod refused;
mod tunnel;

pub use self::{
    layer::{Gate, Ingress, IngressLayer, Params},
    path::canonical,
    refused::Refused,
};
