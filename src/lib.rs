//! The workspace operator: long-lived agent workspaces on Kubernetes, whose images follow one
//! setting.
//!
//! The rooms, from the top to the bottom; imports go down this list only.
//!
//! | room | holds |
//! |---|---|
//! | [`cli`] | the command line: flags, logs |
//! | [`kubectl`] | the kubectl plugin: what a person types, and is shown |
//! | [`preflight`] | whether every image is there that is needed |
//! | [`probe`] | whether a node can pull an image, asked by a Pod |
//! | [`connection`] | the connection to the API server: its deadlines, the pauses it asks for |
//! | [`controller`] | the loop: watches, index, queue, one step a pass |
//! | [`lookout`] | what registries are asked beside the loop |
//! | [`digests`] | which tags registries are asked about, and which have moved; pure |
//! | [`secrets`] | the pull credentials of Pods, read |
//! | [`requests`] | requests for which somebody waits: each within a deadline, lists to their last page |
//! | [`leader`] | who may write: of several operators, the one that holds the Lease |
//! | [`governor`] | what is known of the two ConfigMaps |
//! | [`journal`] | the log lines of a rollout |
//! | [`events`] | the Kubernetes Events about Workspaces and settings |
//! | [`server`] | metrics and health over HTTP |
//! | [`metrics`] | what is counted |
//! | [`watch`] | the watches |
//! | [`apply`] | one step becomes one request |
//! | [`registry`] | what image registries are asked |
//! | [`queue`] | what to look at next |
//! | [`window`] | how many requests may be under way |
//! | [`index`] | what is seen, joined by Workspace |
//! | [`wire`] | what the API server sends, decoded |
//! | [`overview`] | what there is to say of all Workspaces together; pure |
//! | [`moves`] | which of those that run may be moved now; pure |
//! | [`plan`] | every decision; pure |
//! | [`proof`] | what is proved of images on nodes before anything is stopped for them; pure |
//! | [`traffic`] | the requests, counted; which watches are alive |
//! | [`credentials`] | which pull credentials a kubelet would use; pure |
//! | [`volume`] | what has to change about a claim |
//! | [`pod`] | the objects that a Workspace asks for |
//! | [`seen`] | the small values that a decision rests on |
//! | [`revision`] | the hash of what the user asked for |
//! | [`pull`] | why an image cannot be pulled, in words |
//! | [`resolver`] | the one place where a registry prefix is applied |
//! | [`fleet`] | which settings are in force, and the record of it |
//! | [`settings`] | a ConfigMap becomes settings, or a list of errors |
//! | [`workspace`] | the API: the Workspace, its validation, its CustomResourceDefinition |
//! | [`names`] | labels, annotations, ports: what others rely on |
#![deny(missing_docs)]

pub mod apply;
pub mod cli;
pub mod connection;
pub mod controller;
pub mod credentials;
pub mod digests;
pub mod events;
pub mod fleet;
pub mod governor;
pub mod index;
pub mod journal;
pub mod kubectl;
pub mod leader;
pub mod lookout;
pub mod metrics;
pub mod moves;
pub mod names;
pub mod overview;
pub mod plan;
pub mod pod;
pub mod preflight;
pub mod probe;
pub mod proof;
pub mod pull;
pub mod queue;
pub mod registry;
pub mod requests;
pub mod resolver;
pub mod revision;
pub mod secrets;
pub mod seen;
pub mod server;
pub mod settings;
pub mod traffic;
pub mod volume;
pub mod watch;
pub mod window;
pub mod wire;
pub mod workspace;
