//! A model check of the operator's decisions: every interleaving, within bounds, of what users,
//! nodes, registries, caches and crashes can do to one Workspace, against the invariants of the
//! design. It explores what can go wrong; it does not sample what goes right.
//!
//! # What is real, and what is a model
//!
//! Real: `plan::plan`, which takes every decision; `apply::Request`, which says what is asked of the
//! API server for it, with all that the request names to be refused by when it is outdated;
//! `apply::Outcome`, which says what the reply means; `plan::remember`, which takes that into the
//! memory; `plan::awaits_settings`, which says whom an edit of the settings wakes;
//! `fleet::in_force`, which says what an edit puts in force; the Pod and the claim that are
//! created, and how what is created and patched is decoded (`wire`). A model: the rest of the cluster.
//! Its API server gets the very requests, bodies and patches of production, and replies with the same
//! `Status`.
//!
//! | room | holds |
//! |---|---|
//! | [`explore`] | what can happen next, as stateright asks for it |
//! | [`invariants`] | what must hold of every state and every write |
//! | [`settle`] | I7: from every state, without more faults, to the right end and then silence |
//! | [`reached`] | what a run must come across |
//! | [`mutants`] | broken rules of deciding, which must be found |
//! | [`misapplied`] | broken rules of applying, which must be found |
//! | [`operator`] | an operator's view, pass and memory |
//! | [`api`] | the API server: what it makes of a request, and replies |
//! | [`environment`] | users, registry, kubelet, scheduler, garbage collector, faults |
//! | [`cluster`] | bounds, specs, settings |
//! | [`state`] | one state |
//! | [`memo`] | which states are known to settle |
//! | [`report`] | runs the checker, tells a counterexample |
//!
//! # What is bounded, and how
//!
//! - **Time** has a few points ([`cluster::Bounds::times`]): now; 60 s later, when every problem
//!   has lasted long enough to be told, every first back-off and every grace is over; an hour
//!   later, when every time-out is over. Between two points anything may happen in any order. The
//!   operators share one clock.
//! - **Caches.** Each operator sees each object (Workspace, Pod, claim, settings) in an earlier
//!   version, catches up version by version whenever it likes, and never goes back. It is at most
//!   [`cluster::Bounds::lag`] versions behind; one that would be further behind is shown the next
//!   versions at once, as a new list would. The versions that nobody sees any more are forgotten,
//!   and a `resourceVersion` is the distance from the newest.
//! - **Users** create, edit, suspend, resume, delete (in the background and in the foreground) and
//!   create again: [`cluster::Bounds::edits`] times. The **settings** go from any value to any
//!   other, the invalid one and none included: [`cluster::Bounds::settings`] times. The
//!   **registry** serves, denies or hangs, and changes its mind [`cluster::Bounds::registry`] times.
//! - **Faults**, [`cluster::Bounds::faults`] of them in a run: an operator is killed and started;
//!   a write is done, and its answer is lost or is an error; the agent exits; the Pod is evicted; the
//!   image vanishes from its node; the node is lost; someone takes our label off the Pod; new Pods, new
//!   images and the end of Pods are refused; a stranger takes the Pod's name, with or without the label
//!   that makes the watches show it.
//!   What undoes a fault is free.
//! - **Two operators** run at once, without knowing of each other.
//!
//! A request that is under way for long needs no state of its own: planned early and done late is
//! the same as planned late from an old view. That holds of the last request of a killed
//! operator too. A write that failed without effect is a pass that did not happen.
//!
//! The report says whether all states within the bounds were checked.
//!
//! # What is not here
//!
//! Of I3 (a Ready Workspace is not stopped for an image that its node cannot have) it checks that
//! nothing is stopped without a proof that holds. That a proof is true, several nodes, pull secrets,
//! and a node that loses what was proved are tested elsewhere; so are several Workspaces, the
//! namespace's Service, a namespace that ends, and clocks that differ or jump.
//!
//! Nor does it come to settings that are invalid with no last good ones before them (`InvalidSettings`),
//! to somebody else's claim (`VolumeNotOwned`) or one that is refused, to `expiresAt` and `restartedAt`,
//! to settings that cannot be read, to the turns of a fleet (it is always its turn), and to a move that
//! is put back. What an operator sees of the status of a Pod, and of a Workspace and a claim, is made by
//! hand in [`operator`], and not decoded by `wire`.

pub mod api;
pub mod cluster;
pub mod environment;
pub mod explore;
pub mod invariants;
pub mod memo;
pub mod misapplied;
pub mod mutants;
pub mod operator;
pub mod reached;
pub mod report;
pub mod settle;
pub mod state;
