//! weir: a local reverse proxy between apps and LLM APIs, which knows why a call failed.
//!
//! # The life of a request
//!
//! A worker ([`app`]) accepts a connection; hyper hands each request to the chain that [`stack`] assembles. Typed values
//! ([`call`]) go down it and come back up:
//!
//! 1. [`stage::ingress`]: `http::Request` → [`call::Inbound`]. The path must be the API's, the body is read within its bounds
//!    (JSON whole, uploads as a stream), the request gets an id.
//! 2. [`stage::admit`]: → [`call::Call`]. The key names the app; the headers give timeout and wishes; the envelope (model,
//!    stream, expected tokens) is found by scanning the body ([`json`], [`dialect`]), which is never built as a tree.
//! 3. [`stage::record`] notes the time, and will book whatever becomes of the call.
//! 4. [`stage::cache`]: an identical call may be answered from the store, or join the one that is under way.
//! 5. [`stage::quota`]: the app's own allowance.
//! 6. [`stage::route`]: → [`call::Plan`]. The model leads to targets (an upstream and a model there), in order.
//! 7. [`stage::retry`]: → [`call::Attempt`], one after another, each through what follows.
//! 8. [`stage::breaker`]: an open circuit refuses, at no cost.
//! 9. [`stage::limit`]: the provider's limit is waited for.
//! 10. [`stage::dispatch`]: the model's name is spliced in, the call goes out through the worker's own pool ([`upstream`]).
//!     A stream is held back until its first content; until then every failure is one that the next attempt can undo.
//!
//! On the way back a [`call::Reply`] rises unchanged, or an [`error::Error`]. What the provider answered with is judged once, by
//! [`triage`]: a class, how far it reaches, how long to wait, what to advise. Retry and breaker act on that verdict and on nothing
//! else. When no target is left, the provider's own answer goes to the caller, verbatim.
//!
//! How each attempt ended is seen once, by [`witness`], which tells the metrics, the book of [`failures`] and [`outage`]
//! detection. Circuits tell the book and [`alerts`] of their changes. [`explain`] and [`incident`] read the book; nothing that a
//! call waits for does. What of all this leaves the process in words has passed [`redact`].
//!
//! A body is not finished when its head is: permits, circuit verdicts, usage, metrics and the log line ride in
//! [`call::ReplyBody`] until the stream ends, breaks, or is dropped because the caller left.
//!
//! # The map
//!
//! | module | holds |
//! | --- | --- |
//! | [`stack`] | the chain, in order |
//! | [`stage`] | one module per layer of it |
//! | [`call`], [`error`] | what travels down and up |
//! | [`app`] | configuration → shared state → workers → drain |
//! | [`config`] | the file: read, checked, explained, resolved |
//! | [`triage`] | failure → verdict; rules from `config/providers/` |
//! | [`dialect`] | OpenAI's API: envelopes, streams, usage, errors |
//! | [`json`], [`sse`], [`codec`] | scanning JSON, event streams, content encodings |
//! | [`upstream`] | connections to providers |
//! | [`witness`] | sees how every attempt ends; tells metrics and the two below |
//! | [`failures`], [`outage`] | the book of recent failures; whose outage it is |
//! | [`explain`] | a pasted error, or a case from the book, told to people |
//! | [`incident`] | the report for a support ticket |
//! | [`limits`] | the providers' limits: learnt, reserved, waited for |
//! | [`models`] | what is known of models |
//! | [`alerts`] | a webhook is told of circuits and of outages |
//! | [`telemetry`], [`admin`] | metrics, logs; the operators' listener |
//! | [`doctor`] | keys, organisations, addresses and connections, examined |
//! | [`redact`] | takes what looks like a key out of text |
//! | [`sim`] | the simulated provider |
//! | [`cli`] | one file per command |

pub mod admin;
pub mod alerts;
pub mod app;
pub mod call;
pub mod cli;
pub mod codec;
pub mod config;
pub mod dialect;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod failures;
pub mod incident;
pub mod json;
pub mod limits;
pub mod models;
pub mod outage;
pub mod redact;
pub mod sim;
pub mod sse;
pub mod stack;
pub mod stage;
pub mod telemetry;
pub mod triage;
pub mod upstream;
pub mod witness;
