//! A character language model behind HTTP and WebSocket. A session is a stream of a [`Batcher`](rnn_api::Batcher): its state
//! lives between requests, is saved from time to time, and survives the server.
//!
//! | file | does |
//! |---|---|
//! | `options.rs` | the options of the program |
//! | `engine.rs` | the model and its batches |
//! | `sessions.rs`, `session.rs` | the sessions; one session and its generations |
//! | `store.rs` | sessions as files |
//! | `server.rs`, `connections.rs`, `taken.rs` | the server from start to end; its connections; clients that take nothing |
//! | `http.rs`, `socket.rs`, `object.rs` | the interface; requests as JSON |
//! | `refused.rs`, `metrics.rs` | errors as responses; counts for Prometheus |
//! | `client.rs` | what the tests and `load` talk to the server with |

pub mod client;
mod connections;
mod engine;
mod http;
mod metrics;
mod object;
mod options;
mod refused;
mod server;
mod session;
mod sessions;
mod socket;
mod store;
mod taken;

#[path = "../../char_lm/model.rs"]
#[allow(dead_code, reason = "char_lm also trains and saves it")]
mod model;

pub use engine::write_untrained;
pub use options::Options;
pub use server::Server;
