//! What the API server refuses, and the sentence it says: one table, checked at write time.
//!
//! Only what is certain to be wrong is refused. What depends on the cluster (quotas, policies,
//! feature gates) is left to the server, which says so when the Pod is created.

/// One CEL rule at one place of the schema.
pub(super) struct Rule {
    /// Where in the schema: `spec.env[]` are the items of a list, `spec.podLabels{}` the values
    /// of a map, and the empty path is the whole object.
    pub at: &'static str,
    /// What the rule looks at.
    pub of: Of,
    /// The CEL expression that holds for what is accepted.
    pub cel: &'static str,
    /// One sentence that a person can act on.
    pub says: &'static str,
}

/// What a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The value, `self` in the expression; the server names its path.
    Value,
    /// Each key of a map, `key` in the expression; the sentence begins with the offending key,
    /// because the server names the map alone.
    Keys,
}

const fn value(at: &'static str, cel: &'static str, says: &'static str) -> Rule {
    Rule {
        at,
        of: Of::Value,
        cel,
        says,
    }
}

const fn keys(at: &'static str, cel: &'static str, says: &'static str) -> Rule {
    Rule {
        at,
        of: Of::Keys,
        cel,
        says,
    }
}

/// `[prefix/]name` of a label or an annotation. An annotation's may have capitals in its prefix.
macro_rules! qualified_name {
    ($lower:literal) => {
        concat!(
            "key.matches('^([",
            $lower,
            "0-9]([-",
            $lower,
            "0-9]*[",
            $lower,
            "0-9])?",
            "([.][",
            $lower,
            "0-9]([-",
            $lower,
            "0-9]*[",
            $lower,
            "0-9])?)*/)?",
            "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && key.indexOf('/') <= 253"
        )
    };
}

const LABEL_KEY: &str = qualified_name!("a-z");
const ANNOTATION_KEY: &str = qualified_name!("A-Za-z");
const KEY_SAYS: &str = "is not a valid key: write [prefix/]name, the name at most 63 letters, digits, '-', '_' and '.', the prefix a DNS name";

const LABEL_VALUE: &str = "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')";
const LABEL_VALUE_SAYS: &str = "must be empty or at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit";

const NOT_RESERVED: &str =
    "!key.startsWith('molecule.ai/') && !key.startsWith('app.kubernetes.io/')";
const NOT_RESERVED_SAYS: &str =
    "is reserved for the operator: keys under molecule.ai/ and app.kubernetes.io/ cannot be set";

const OBJECT_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') && self.size() <= 253";
const OBJECT_NAME_SAYS: &str = "must be the name of an object: at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit";

const DATA_KEY: &str = "self.matches('^[-._A-Za-z0-9]{1,253}$')";
const DATA_KEY_SAYS: &str =
    "must be a key of the object's data: 1 to 253 letters, digits, '-', '_' and '.'";

const QUANTITY: &str = "isQuantity(string(self))";
const QUANTITY_SAYS: &str = "must be a quantity, such as 500m or 2 for cpu and 4Gi for memory";

// What is later cannot be held here, and would make the whole spec undecodable.
const KNOWN_TIME: &str = "self.getFullYear() < 9999";
const KNOWN_TIME_SAYS: &str = "must be before the year 9999: set an earlier time, or leave it out";

const TIME_OF_DAY: &str = "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')";
const TIME_OF_DAY_SAYS: &str = "must be a time of the day in UTC, 00:00 to 23:59, such as 22:00";

const NO_HOST_PROCESS: &str =
    "hostProcess is not allowed: an agent has no access to its node; remove it";

/// Every rule, in the order of the fields in the API.
pub(super) const RULES: &[Rule] = &[
    value(
        "",
        "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        "metadata.name becomes the Pod's host name: it must be at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    ),
    value(
        "spec",
        "!has(self.tag) || !has(self.digest)",
        "set tag or digest, not both: a digest already names one exact image",
    ),
    value(
        "spec",
        "has(self.id) == has(oldSelf.id) && (!has(self.id) || self.id == oldSelf.id)",
        "id cannot be set, changed or removed once the Workspace exists: the agent would lose its identity; create another Workspace instead",
    ),
    value(
        "spec",
        "!has(oldSelf.storage) || has(self.storage)",
        "storage cannot be removed: the agent's data is on it; create another Workspace without storage instead",
    ),
    value(
        "spec.runtime",
        "self.matches('^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$')",
        "runtime must be 1 to 40 lower-case letters, digits and '-', beginning and ending with a letter or digit, such as claude-code",
    ),
    value(
        "spec.tag",
        "self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$')",
        "tag must be 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'; leave it out for the default",
    ),
    value(
        "spec.digest",
        "self.matches('^sha256:[0-9a-f]{64}$')",
        "digest must be sha256: followed by 64 lower-case hex digits",
    ),
    // No '$': kubelets expand $(NAME) in the values of environment variables.
    value(
        "spec.id",
        "self.matches('^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,252}$')",
        "id must be 1 to 253 letters, digits, '.', '_', ':', '@', '/' and '-', beginning with a letter or digit",
    ),
    value(
        "spec.env[]",
        "!has(self.valueFrom) || !has(self.value) || self.value == ''",
        "set value or valueFrom, not both",
    ),
    value(
        "spec.env[].name",
        "self.matches('^[ -<>-~]+$')",
        "the name of an environment variable must be printable ASCII without '=', and not empty",
    ),
    value(
        "spec.env[].name",
        "!(self in ['WORKSPACE_ID', 'WORKSPACE_CONFIG_PATH'])",
        "WORKSPACE_ID and WORKSPACE_CONFIG_PATH are set by the operator: remove the variable; to choose the ID, set spec.id when the Workspace is created",
    ),
    value(
        "spec.env[].valueFrom",
        "[has(self.configMapKeyRef), has(self.fieldRef), has(self.resourceFieldRef), has(self.secretKeyRef)].exists_one(set, set)",
        "set exactly one of configMapKeyRef, secretKeyRef, fieldRef and resourceFieldRef",
    ),
    value(
        "spec.env[].valueFrom.configMapKeyRef.name",
        OBJECT_NAME,
        OBJECT_NAME_SAYS,
    ),
    value(
        "spec.env[].valueFrom.configMapKeyRef.key",
        DATA_KEY,
        DATA_KEY_SAYS,
    ),
    value(
        "spec.env[].valueFrom.secretKeyRef.name",
        OBJECT_NAME,
        OBJECT_NAME_SAYS,
    ),
    value(
        "spec.env[].valueFrom.secretKeyRef.key",
        DATA_KEY,
        DATA_KEY_SAYS,
    ),
    value(
        "spec.envFrom[]",
        "has(self.configMapRef) != has(self.secretRef)",
        "set exactly one of configMapRef and secretRef",
    ),
    value(
        "spec.envFrom[].configMapRef.name",
        OBJECT_NAME,
        OBJECT_NAME_SAYS,
    ),
    value(
        "spec.envFrom[].secretRef.name",
        OBJECT_NAME,
        OBJECT_NAME_SAYS,
    ),
    value("spec.resources.limits{}", QUANTITY, QUANTITY_SAYS),
    value("spec.resources.requests{}", QUANTITY, QUANTITY_SAYS),
    value(
        "spec.resources",
        "!has(self.limits) || !has(self.requests) || ['cpu', 'memory', 'ephemeral-storage'].all(key, \
         !(key in self.requests) || !(key in self.limits) \
         || !isQuantity(string(self.requests[key])) || !isQuantity(string(self.limits[key])) \
         || quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key]))) <= 0)",
        "each request must be at most its limit: raise the limit or lower the request",
    ),
    value(
        "spec.securityContext.privileged",
        "!self",
        "privileged is not allowed: an agent has no access to its node; remove it",
    ),
    value(
        "spec.securityContext.capabilities.add",
        "self.size() == 0",
        "capabilities cannot be added, only dropped: remove add",
    ),
    value(
        "spec.securityContext.procMount",
        "self == 'Default'",
        "procMount can only be Default: remove it",
    ),
    value(
        "spec.securityContext.windowsOptions.hostProcess",
        "!self",
        NO_HOST_PROCESS,
    ),
    value(
        "spec.podSecurityContext.windowsOptions.hostProcess",
        "!self",
        NO_HOST_PROCESS,
    ),
    keys("spec.podLabels", LABEL_KEY, KEY_SAYS),
    keys("spec.podLabels", NOT_RESERVED, NOT_RESERVED_SAYS),
    value("spec.podLabels{}", LABEL_VALUE, LABEL_VALUE_SAYS),
    keys("spec.podAnnotations", ANNOTATION_KEY, KEY_SAYS),
    keys("spec.podAnnotations", NOT_RESERVED, NOT_RESERVED_SAYS),
    value(
        "spec.imagePullSecrets[].name",
        OBJECT_NAME,
        OBJECT_NAME_SAYS,
    ),
    value("spec.serviceAccountName", OBJECT_NAME, OBJECT_NAME_SAYS),
    keys("spec.nodeSelector", LABEL_KEY, KEY_SAYS),
    value("spec.nodeSelector{}", LABEL_VALUE, LABEL_VALUE_SAYS),
    value("spec.priorityClassName", OBJECT_NAME, OBJECT_NAME_SAYS),
    value("spec.runtimeClassName", OBJECT_NAME, OBJECT_NAME_SAYS),
    // The API server removes a Pod with 0 at once, without asking its node: that is a forced
    // deletion, and a successor could run beside it.
    value(
        "spec.terminationGracePeriodSeconds",
        "self >= 1",
        "must be at least 1 second: with 0 the Pod would be gone before its container has stopped",
    ),
    value("spec.config", OBJECT_NAME, OBJECT_NAME_SAYS),
    value(
        "spec.storage.size",
        "isQuantity(string(self)) && !quantity(string(self)).isLessThan(quantity('1'))",
        "size must be a quantity of at least one byte, such as 20Gi",
    ),
    value(
        "spec.storage.size",
        "!isQuantity(string(self)) || !isQuantity(string(oldSelf)) || quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
        "size can grow but not shrink: keep the old size or set a larger one",
    ),
    value(
        "spec.storage",
        "has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "storageClassName cannot be set, changed or removed once the storage exists: create another Workspace to use another class",
    ),
    // The empty name asks for a volume that exists already, as in core/v1.
    value(
        "spec.storage.storageClassName",
        "self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$') && self.size() <= 253",
        OBJECT_NAME_SAYS,
    ),
    value(
        "spec.storage.accessModes",
        "self == oldSelf",
        "accessModes cannot change once the storage exists: create another Workspace to use others",
    ),
    value(
        "spec.storage.accessModes",
        "self.exists(mode, mode != 'ReadOnlyMany') && (self.size() == 1 || !('ReadWriteOncePod' in self))",
        "accessModes must let the agent write (ReadOnlyMany alone does not), and ReadWriteOncePod must stand alone",
    ),
    value(
        "spec.provisionTimeoutSeconds",
        "self >= 1 && self <= 86400",
        "must be 1 to 86400 seconds, which is a day",
    ),
    value("spec.expiresAt", KNOWN_TIME, KNOWN_TIME_SAYS),
    value("spec.rollout.notBefore", KNOWN_TIME, KNOWN_TIME_SAYS),
    value("spec.rollout.window.start", TIME_OF_DAY, TIME_OF_DAY_SAYS),
    value("spec.rollout.window.end", TIME_OF_DAY, TIME_OF_DAY_SAYS),
    value(
        "spec.rollout.window",
        "self.start != self.end",
        "start and end must differ: leave the window out for the whole day",
    ),
];
