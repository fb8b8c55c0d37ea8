//! Before anybody depends on a mirror: what a node says of it, asked by somebody who may not read the
//! pull secrets.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{PRIVATE, image};
use crate::bed::UNMIRRORED;
use crate::world::World;

/// Somebody, and what the README says that a look for the images takes; but for the pull secrets.
const SOMEBODY: &str = "somebody";
const RIGHTS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: somebody}
rules:
- {apiGroups: [molecule.ai], resources: [workspaces], verbs: [list]}
- {apiGroups: [''], resources: [configmaps, serviceaccounts], verbs: [get]}
- {apiGroups: [''], resources: [nodes], verbs: [list]}
- {apiGroups: [apps], resources: [deployments], verbs: [list]}
- {apiGroups: [''], resources: [pods], verbs: [create, get, list, watch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: somebody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: somebody}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: somebody}]
";
/// How a Pod that asks is called, before what the API server appends.
const PROBE: &str = "workspace-probe-";

/// Asks a node for the images of three tenants: with no secret, with a wrong one, and with the right
/// one, who needs an image besides that the mirror lacks.
pub async fn a_node(world: &mut World, [without, wrong, right]: [&str; 3]) -> Result<()> {
    world.apply(RIGHTS, &[]).await?;
    let somebody = world.bed.cluster.user_kubeconfig(SOMEBODY, "")?;
    let (has, lacks) = (
        image(PRIVATE, "deepagents", "latest"),
        image(PRIVATE, "langgraph", UNMIRRORED),
    );
    let said = ask(world, &somebody, right).await?;
    for line in [
        format!("{has}: a node has pulled it."),
        format!("{lacks}: private.example.com does not have it, asked by a node."),
        format!("No: of 2 images, 1 cannot be pulled from {PRIVATE}."),
    ] {
        ensure_said(&said, &line)?;
    }
    for tenant in [without, wrong] {
        let said = ask(world, &somebody, tenant).await?;
        let line = |words: &str| format!("{has}: private.example.com {words}, asked by a node.");
        let lines = [
            line("answered 401 Unauthorized"),
            line("denies access to it"),
        ];
        let is_clear = lines.iter().any(|it| said.lines().any(|said| said == it));
        ensure!(is_clear, "of {tenant} it does not say {lines:?}");
    }
    let left = world.eye.now(|seen| {
        let probes = seen.keys_of_pods().filter(|it| it.contains(PROBE));
        probes.map(str::to_owned).collect::<Vec<_>>()
    });
    ensure!(left.is_empty(), "left of the asking: {left:?}");
    world.holds(
        "Somebody who may not read the secrets asks a node: it has pulled what the right one is for, \
         it is denied with none and with a wrong one, and it finds missing what is missing. No Pod \
         that asked is left.",
    );
    Ok(())
}

async fn ask(world: &World, somebody: &Path, tenant: &str) -> Result<String> {
    let args = [
        "preflight",
        "--from-cluster",
        "--plain-http=private.example.com",
        "-n",
        tenant,
    ];
    let asked = world.eye.mark();
    let output = world.plugin(somebody, &args).await?;
    ensure!(
        output.code == 1,
        "for {tenant} the exit code is {}, and not 1",
        output.code
    );
    let probes = world.eye.since(asked);
    let probes = probes.iter().filter(|it| it.key.contains(PROBE));
    ensure!(probes.count() > 0, "no node was asked for {tenant}");
    Ok(output.stdout)
}

fn ensure_said(said: &str, line: &str) -> Result<()> {
    ensure!(
        said.lines().any(|it| it == line),
        "it does not say {line:?}"
    );
    Ok(())
}
