//! One Workspace and what surrounds it. Steps are applied as the API server would; the rest of
//! the world moves when a scenario says so. Objects pass through [`crate::wire`], as they do in
//! production.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fleet::{InForce, Source, in_force};
use crate::plan::{Answer, Plan, Step, awaits_settings, plan, remember};
use crate::proof::{Want, to_stock};
use crate::seen::{Claim, Goes, Key, Known, Memory, Pod, Proof, Seen, Service, Turn, Workspace};
use crate::settings::Environment;
use crate::wire::{self, Wire};

pub const A: &str = "a.example.com/agents";
pub const B: &str = "b.example.com/agents";
pub const UID: &str = "uid-ws";

pub struct World {
    pub key: Key,
    pub workspace: Option<Value>,
    pub pod: Option<Value>,
    pub claim: Option<Value>,
    pub service: Service,
    pub memory: Memory,
    pub settings: InForce,
    /// What is known of every image on every node.
    pub proof: Proof,
    pub turn: Turn,
    pub now: Timestamp,
    /// What the API server answers to the next creates, dry runs and patches of Pods and claims.
    pub refuses: Option<String>,
    /// Whether Pods may not be deleted.
    pub refuses_deletes: bool,
    /// Patches are taken and change nothing, as under a policy that undoes them.
    pub undoes: bool,
    /// Every step so far.
    pub steps: Vec<Step>,
    /// When it is to be looked at again though nothing changes.
    wake: Option<Timestamp>,
    /// How often a container was given another image: what runs after that is another one.
    moves: u32,
    counter: u32,
}

impl World {
    /// A Workspace `w` with this spec, the settings pointing to [`A`].
    pub fn new(spec: &Value) -> Self {
        let mut world = Self {
            key: Key::new("ns", "w"),
            workspace: None,
            pod: None,
            claim: None,
            service: Service::Ours,
            memory: Memory::default(),
            settings: settings(&[("MOLECULE_IMAGE_REGISTRY", A)]),
            proof: Proof::Proved,
            turn: Turn::Waits,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            refuses: None,
            undoes: false,
            refuses_deletes: false,
            wake: None,
            steps: Vec::new(),
            moves: 0,
            counter: 0,
        };
        world.workspace = Some(json!({
            "metadata": {"name": "w", "namespace": "ns", "uid": UID, "generation": 1},
            "spec": spec,
            "status": {"observedGeneration": -1},
        }));
        world.touch_workspace();
        world
    }

    /// The same, with its Pod Ready and told.
    pub fn ready(spec: &Value) -> Self {
        let mut world = Self::new(spec);
        world.settle();
        world.run();
        world.settle();
        assert_eq!(world.state(), "Ready");
        world.steps.clear();
        world
    }

    /// The same, its Pod stuck on a registry that answers 401.
    pub fn stuck(spec: &Value) -> Self {
        let mut world = Self::new(spec);
        world.settle();
        world.pull_fails("401 Unauthorized");
        world.settle();
        world.pass_time(4);
        assert_eq!(world.state(), "ImagePullFailed");
        world.steps.clear();
        world
    }

    fn next(&mut self) -> String {
        self.counter += 1;
        self.counter.to_string()
    }

    fn touch_workspace(&mut self) {
        let version = self.next();
        if let Some(workspace) = &mut self.workspace {
            workspace["metadata"]["resourceVersion"] = json!(version);
        }
    }

    fn touch_pod(&mut self) {
        let version = self.next();
        self.pod.as_mut().expect("a Pod")["metadata"]["resourceVersion"] = json!(version);
    }

    /// What `plan` says now, without doing it.
    pub fn plan(&self) -> Plan {
        let with = |known: Option<&Known>| {
            self.with_seen(known, |seen| plan(seen, &self.settings, self.now))
        };
        let blind = with(None);
        let Some(want) = &blind.wants else {
            return blind;
        };
        let stops = matches!(
            blind.step,
            Some(Step::DeletePod { .. } | Step::MovePod { .. })
        );
        assert!(!stops, "what is still to be proved is stopped: {blind:?}");
        let known = Known {
            question: want.question.clone(),
            proof: self.proof.clone(),
        };
        with(Some(&known))
    }

    /// What is to be expected of its Pod after what it was told.
    pub fn goes(&self) -> Option<Goes> {
        let pod = decode::<wire::Pod>(self.pod.as_ref().expect("a Pod"));
        self.memory.goes(&pod, self.now).map(|it| it.0)
    }

    /// Whether an edit of the settings wakes the Workspace.
    pub fn awaits_settings(&self) -> bool {
        self.with_seen(None, awaits_settings)
    }

    /// What is to be pulled for it before a switch to these settings.
    pub fn to_stock(&self, next: &InForce) -> Option<Want> {
        let next = next.settings.as_ref().expect("settings");
        self.with_seen(None, |seen| to_stock(seen, next))
    }

    fn with_seen<T>(&self, known: Option<&Known>, look: impl Fn(&Seen<'_>) -> T) -> T {
        let workspace: Option<Workspace> = self.workspace.as_ref().map(decode::<wire::Workspace>);
        let pod: Option<Pod> = self.pod.as_ref().map(decode::<wire::Pod>);
        let claim: Option<Claim> = self.claim.as_ref().map(decode::<wire::Claim>);
        look(&Seen {
            key: &self.key,
            workspace: workspace.as_ref(),
            pod: pod.as_ref(),
            claim: claim.as_ref(),
            service: self.service,
            memory: &self.memory,
            proof: known,
            turn: self.turn,
        })
    }

    /// One pass. Returns the step.
    pub fn pass(&mut self) -> Option<Step> {
        let plan = self.plan();
        self.memory.showing = plan.showing;
        let step = plan.step?;
        self.steps.push(step.clone());
        if let Some(pod) = step.stops() {
            self.memory.tell_to_go(pod, self.now);
        }
        let answer = self.apply(&step);
        remember(&mut self.memory, &step, answer, self.now);
        Some(step)
    }

    /// Passes until there is nothing to do; planning again then changes nothing, and what is to be
    /// looked at again is looked at later.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            if self.pass().is_none() {
                let again = self.plan();
                assert_eq!(again.step, None, "planning again changes nothing");
                let later = again.wake.is_none_or(|at| at > self.now);
                assert!(later, "it would be looked at again and again: {again:?}");
                self.wake = again.wake;
                return;
            }
        }
        panic!("no end of steps: {:#?}", self.steps);
    }

    /// What changed is seen, and time passes, second by second; nothing is looked at again before
    /// it was to be.
    pub fn pass_time(&mut self, seconds: i64) {
        self.settle();
        for _ in 0..seconds {
            self.now += SignedDuration::from_secs(1);
            if self.wake.is_some_and(|at| at <= self.now) {
                self.settle();
            }
        }
    }

    fn apply(&mut self, step: &Step) -> Answer {
        let patches = matches!(step, Step::PatchClaim { .. } | Step::PatchStatus { .. });
        if self.undoes && patches {
            return Answer::NoEffect;
        }
        if let Some(message) = &self.refuses
            && !matches!(step, Step::DeletePod { .. } | Step::PatchStatus { .. })
        {
            return Answer::Refused(message.clone());
        }
        match step {
            Step::CreatePod { pod, .. } => {
                assert!(self.pod.is_none(), "the name is taken");
                let mut pod = json!(pod);
                pod["metadata"]["uid"] = json!(format!("uid-pod-{}", self.next()));
                pod["metadata"]["creationTimestamp"] = json!(self.now.to_string());
                pod["status"] = json!({"phase": "Pending"});
                self.pod = Some(pod);
                self.touch_pod();
                self.schedule();
            }
            Step::TryPod { .. } => {}
            Step::SetImage { ask, at, .. } => {
                let pod = self.pod.as_mut().expect("a Pod");
                pod["spec"]["containers"][0]["image"] = json!(ask.image);
                pod["metadata"]["annotations"]["molecule.ai/image"] = json!(ask.image);
                pod["metadata"]["annotations"]["molecule.ai/healedAt"] = json!(at.to_string());
                self.touch_pod();
            }
            Step::MovePod { ask, moved, .. } => {
                self.moves += 1;
                let pod = self.pod.as_mut().expect("a Pod");
                pod["spec"]["containers"][0]["image"] = json!(ask.image);
                let annotations = &mut pod["metadata"]["annotations"];
                annotations["molecule.ai/image"] = json!(ask.image);
                annotations["molecule.ai/movedFrom"] = json!(moved.from);
                annotations["molecule.ai/movedAt"] = json!(moved.at.to_string());
                annotations["molecule.ai/movedOver"] = json!(moved.over);
                annotations["molecule.ai/movedBack"] = json!(moved.back);
                // A patch takes away what is null.
                let annotations = annotations.as_object_mut().expect("annotations");
                annotations.retain(|_, value| !value.is_null());
                self.touch_pod();
            }
            Step::DeletePod { .. } if self.refuses_deletes => {
                return Answer::Refused("you may not".into());
            }
            Step::DeletePod { .. } => self.pod = None,
            Step::CreateClaim { claim, .. } => {
                let mut claim = json!(claim);
                claim["metadata"]["uid"] = json!("uid-claim");
                claim["status"] = json!({"phase": "Pending"});
                self.claim = Some(claim);
            }
            Step::PatchClaim { change, .. } => {
                let claim = self.claim.as_mut().expect("a claim");
                if let Some(size) = &change.size {
                    claim["spec"]["resources"]["requests"]["storage"] = json!(size);
                }
                if let Some(owners) = &change.owners {
                    claim["metadata"]["ownerReferences"] = json!(owners);
                }
            }
            Step::PatchStatus { status, .. } => {
                self.workspace.as_mut().expect("a Workspace")["status"] = json!(status);
                self.touch_workspace();
            }
        }
        Answer::Done
    }

    /// The user changes the spec.
    pub fn edit(&mut self, field: &str, value: Value) {
        let workspace = self.workspace.as_mut().expect("a Workspace");
        workspace["spec"][field] = value;
        let generation = workspace["metadata"]["generation"].as_i64().unwrap_or(0);
        workspace["metadata"]["generation"] = json!(generation + 1);
        self.touch_workspace();
    }

    pub fn status(&mut self, status: Value) {
        self.pod.as_mut().expect("a Pod")["status"] = status;
        self.touch_pod();
    }

    /// The scheduler binds the Pod.
    pub fn schedule(&mut self) {
        self.pod.as_mut().expect("a Pod")["spec"]["nodeName"] = json!("node-1");
        self.touch_pod();
    }

    /// The scheduler finds no node.
    pub fn unschedulable(&mut self) {
        let pod = self.pod.as_mut().expect("a Pod");
        pod["spec"]["nodeName"] = Value::Null;
        self.status(json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes are available",
        }]}));
    }

    /// The kubelet says what our container does, the sandbox being ready.
    pub fn agent(&mut self, status: Value) {
        let ready = if status["ready"] == json!(true) {
            "True"
        } else {
            "False"
        };
        let changed = self.ready_changed(ready);
        let mut status = status;
        status["name"] = json!("agent");
        self.status(json!({
            "phase": if status["state"]["running"].is_null() { "Pending" } else { "Running" },
            "conditions": [
                {"type": "PodReadyToStartContainers", "status": "True"},
                {"type": "Ready", "status": ready, "lastTransitionTime": changed},
            ],
            "containerStatuses": [status],
        }));
    }

    /// When the condition `Ready` last changed, if it is to be this now.
    fn ready_changed(&self, ready: &str) -> String {
        let conditions = &self.pod.as_ref().expect("a Pod")["status"]["conditions"];
        let told = conditions
            .as_array()
            .and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
        match told.filter(|it| it["status"] == ready) {
            Some(told) => told["lastTransitionTime"]
                .as_str()
                .expect("a time")
                .to_owned(),
            None => self.now.to_string(),
        }
    }

    /// The agent runs and answers.
    pub fn run(&mut self) {
        self.agent(json!({
            "ready": true, "state": {"running": {}},
            "containerID": format!("containerd://run-{}", self.moves),
            "imageID": "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        }));
    }

    /// The kubelet has replaced the container, and the new one answers.
    pub fn run_anew(&mut self, restarts: i32) {
        self.agent(json!({
            "ready": true, "state": {"running": {}}, "restartCount": restarts,
            "containerID": format!("containerd://{restarts}"),
        }));
    }

    /// The kubelet waits for the image, for this reason.
    pub fn waits(&mut self, reason: &str, message: &str) {
        self.agent(json!({"state": {"waiting": {"reason": reason, "message": message}}}));
    }

    /// The registry answers this code.
    pub fn pull_fails(&mut self, code: &str) {
        let image = self.image();
        self.waits(
            "ErrImagePull",
            &format!("failed to pull \"{image}\": unexpected status: {code}"),
        );
    }

    /// The Pod failed.
    pub fn fail(&mut self) {
        self.status(json!({
            "phase": "Failed",
            "containerStatuses": [{"name": "agent", "state": {"terminated": {
                "exitCode": 1, "reason": "Error",
                "startedAt": self.now.to_string(), "finishedAt": self.now.to_string(),
            }}}],
        }));
    }

    /// The image of the live Pod.
    pub fn image(&self) -> String {
        let pod = self.pod.as_ref().expect("a Pod");
        pod["spec"]["containers"][0]["image"]
            .as_str()
            .expect("an image")
            .to_owned()
    }

    /// The UID of the live Pod.
    pub fn pod_uid(&self) -> String {
        self.pod.as_ref().expect("a Pod")["metadata"]["uid"]
            .as_str()
            .expect("a UID")
            .to_owned()
    }

    /// The state that the user sees.
    pub fn state(&self) -> String {
        let workspace = self.workspace.as_ref().expect("a Workspace");
        workspace["status"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// A condition as `status: message`, empty when there is none.
    pub fn condition(&self, type_: &str) -> String {
        let workspace = self.workspace.as_ref().expect("a Workspace");
        let conditions = workspace["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .find(|it| it["type"] == type_)
            .map(|it| {
                let part = |part: &str| it[part].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", part("status"), part("message"))
            })
            .unwrap_or_default()
    }

    /// The kinds of the steps so far.
    pub fn took(&self) -> Vec<&'static str> {
        self.steps.iter().map(name).collect()
    }

    /// How often it took this step.
    pub fn times(&self, step: &str) -> usize {
        self.took().into_iter().filter(|it| *it == step).count()
    }

    /// The operator is killed and started.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
    }
}

/// The kind of a step.
pub fn name(step: &Step) -> &'static str {
    match step {
        Step::CreatePod { .. } => "CreatePod",
        Step::TryPod { .. } => "TryPod",
        Step::SetImage { .. } => "SetImage",
        Step::MovePod { .. } => "MovePod",
        Step::DeletePod { .. } => "DeletePod",
        Step::CreateClaim { .. } => "CreateClaim",
        Step::PatchClaim { .. } => "PatchClaim",
        Step::PatchStatus { .. } => "PatchStatus",
    }
}

/// The settings that such a ConfigMap puts in force.
pub fn settings(data: &[(&str, &str)]) -> InForce {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    in_force(
        &Source::Present(data),
        &Source::Absent,
        None,
        &Environment::default(),
    )
}

fn decode<K: Wire + serde::de::DeserializeOwned>(object: &Value) -> K::Seen {
    serde_json::from_value::<K>(object.clone())
        .expect("the API server's own JSON")
        .seen()
}
