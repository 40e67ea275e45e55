//! The checks of the decoders and what they need, under the names that they know.

#[path = "../../it/format/avro_oracle.rs"]
mod avro_oracle;
#[path = "../../it/format/avro_targets.rs"]
pub(crate) mod avro_targets;
#[path = "../../../benches/bids.rs"]
mod bids;
#[path = "../../it/format/decoders.rs"]
mod decoders;
#[path = "../../it/format/oracle.rs"]
mod oracle;
#[path = "../../it/format/protobuf_oracle.rs"]
mod protobuf_oracle;
#[path = "../../it/format/registered.rs"]
mod registered;
#[path = "../../it/format/targets.rs"]
pub(crate) mod targets;

use decoders::{all, bid_columns, rows};
