//! The providers' limits: what is known of them, what calls take of them, and who waits for them.
//!
//! Providers tell their limits in the heads of replies, in the texts of refusals, or by refusing; people set upper bounds. All of it
//! ends in [`Bucket`]s, a set for each *pool*: the models of one account that share their limits. A call reserves what the
//! provider will count ([`Cost`]), waits in fair order where there is no room, and settles when it is known what it used.
//!
//! `stage::limit` holds attempts back with it, `stage::retry` asks it who is free soonest, `weir limits`, `/status` and the
//! metrics show it. What was learnt is kept for the next run ([`Saved`]).

mod abiding;
mod account;
pub mod bucket;
mod concurrency;
mod cost;
mod denied;
mod family;
mod foreign;
pub mod heard;
mod keeper;
mod kind;
#[cfg(test)]
pub(crate) mod made_up;
mod overload;
mod patience;
mod pool;
mod queue;
mod registry;
mod reservation;
mod saved;
mod store;
mod view;
mod waiter;
mod ways;

pub use self::{
    bucket::Bucket,
    cost::{Calibration, Cost},
    denied::Denied,
    family::family,
    foreign::{Ended, Foreign},
    heard::{Heard, Reading},
    keeper::{Keeper, Sources},
    kind::Kind,
    registry::{Limits, RefusalHook, Refused, WaitHook},
    reservation::Reservation,
    saved::{Saved, SavedBucket, SavedPool},
    store::{Kept, Store, Surroundings, file_name},
    view::{BucketView, ConcurrencyView, PoolView, QueueView, RefusalView, Source},
};
