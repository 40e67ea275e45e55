//! Ownership of queries among several processes of one service.
//!
//! A control topic with one partition decides who owns what. Every process folds it with the same pure function; producer
//! epochs fence earlier owners; the group coordinator stores offsets and the owner's stamp. There is no group membership.
//!
//! ```text
//! names       processes, their starts, and what they own
//! record      what is written into the control topic                                     Hello, Assign, Confirm, ...
//! control     the fold of those records: members, owners, terms, who may still write     C1, C2
//! membership  one process: its Hello, its Drain, whether it was replaced                 C3
//! owner       one process and one query: initialise, read, fence, take, commit, release  C3, C4, C5, C6
//! planner     which process should own what: few moves, balance, standbys, drain         C7
//! proposer    when a plan is appended, and by which process                              C7
//! hearing     who is alive, from pulses and the listener's own clock                     C8
//! node        a process of the service: the above with real topics and threads
//! ```
//!
//! The rules in short; `tests/it/cluster` simulates them and shows for each what goes wrong without it.
//!
//! - **C1** An [`Assign`](record::Assign) counts only if its `base` is the number of Assigns accepted before it.
//! - **C2** A unit's term is the number of the Assign that last gave it an owner. `may_write` names the slots that may still
//!   hold a working producer; the Confirm of the present owner and term reduces it to that owner.
//! - **C3** At the start and after every error: a new producer is initialised, *then* the control topic is read to its end; a
//!   process that was replaced ends; only units that it owns by then are kept.
//! - **C4** To take a unit: fence every other slot in `may_write`, read stable offsets and stamps, restore, commit the stamp of
//!   ownership, process rows. Then Confirm. A fence that was completed is remembered as long as the term lasts, over errors too:
//!   two processes that take units of one query from each other would fence each other for ever.
//! - **C5** An owner that sees that a unit is no longer its own commits its last epoch with a released stamp. A release spares
//!   a slot the fence only if it is of the *last* term in which that slot was named. What was lost before a new producer was
//!   initialised is dropped and not released: the later owner did not fence that producer.
//! - **C6** Rows, changelog, and offsets with stamps are one transaction, with offsets sent once and no group membership.
//! - **C7** The lowest slot that is heard proposes. If several do at once, C1 lets one of them win.
//! - **C8** Silence is judged by the listener's monotonic clock, and only while it hears its own pulses.
//!
//! Why this is safe: an owner of term t commits only with a producer that was initialised before it read the log and saw itself
//! as owner (C3). A later owner acts only after its Assign is in the log, and fences all that could still hold such a producer
//! (C2, C4) before it reads offsets. A fenced process passes C3 again, and sees the later owner.
//!
//! None of these reads a clock, a file or a socket: time, records and responses are arguments, requests are results. The simulation
//! drives them all. In the product [`node`] drives fold, membership, planner and proposer with real topics; the owner's side is
//! carried out by a query's thread and its writer, which asks its [`Claim`](crate::log::Claim) where the owner asks for the end of
//! the control topic. It waits for no release (C5): it always fences.

pub mod control;
pub mod hearing;
pub mod membership;
pub mod names;
pub mod node;
pub mod owner;
pub mod planner;
pub mod proposer;
pub mod record;
