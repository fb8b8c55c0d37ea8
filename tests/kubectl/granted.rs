//! What the README says that a person needs, and a person who has it.

use std::path::PathBuf;

use crate::fixture::World;

/// The objects that the README lists after a mark.
pub fn listed(mark: &str) -> String {
    let mark = format!("<!-- {mark} -->\n\n```yaml\n");
    let rest = include_str!("../../README.md").split(&mark).nth(1);
    let listed = rest.and_then(|it| it.split("```").next());
    listed.expect("README has them").to_owned()
}

/// The kubeconfig of a ServiceAccount in the namespace of a test.
pub async fn kubeconfig(world: &World, account: &str) -> PathBuf {
    let namespace = &world.namespace;
    let kubeconfig = world.cluster.service_account_kubeconfig(namespace, account);
    kubeconfig.await.expect("it has a token")
}
