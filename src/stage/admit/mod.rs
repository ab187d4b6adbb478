//! Who calls, and what is asked: `Inbound` → `Call`.
//!
//! Cheap, and nothing shared is touched for a stranger. An `[[app]]` key is looked up by its hash and
//! compared in constant time; any other credential is the caller's own provider key and goes to the
//! passthrough upstream alone. The body is scanned where it lies. A body that cannot be read is not
//! refused here: the provider has the better error for it, and gets it as it came.

mod credential;
mod directives;
mod layer;
mod refused;

pub(crate) use self::layer::form_boundary;
pub use self::{
    credential::Apps,
    layer::{Admit, AdmitLayer, Params},
    refused::Refused,
};
