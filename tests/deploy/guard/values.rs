//! Settings good and bad, each as people write them. Which is which, the parser says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use workspace_operator::settings::{
    EXTRA_RUNTIMES_KEY, IMAGE_PULL_SECRETS_KEY, NEXT_REGISTRY_KEY, PLATFORM_URL_KEY, PREPULL_KEY,
    PROVISION_TIMEOUT_SECONDS_KEY, REGISTRY_KEY, ROLLOUT_KEY, ROLLOUT_MAX_FAILED_KEY,
    ROLLOUT_MAX_UNAVAILABLE_KEY, ROLLOUT_MIN_READY_SECONDS_KEY, ROLLOUT_PAUSED_KEY,
    ROLLOUT_ROLL_BACK_KEY, RUNTIMES, WATCH_DIGESTS_SECONDS_KEY,
};

use super::parser::samples::{DIGEST, data};

type Data = BTreeMap<String, String>;

const REGISTRIES: [&str; 82] = [
    "",
    "ghcr.io/molecule-ai",
    "host:5000",
    "host:65535/a",
    "localhost",
    "localhost/a",
    "localhost:5000/a/b",
    "10.0.0.1:5000/a",
    "10.0.0.1",
    "xn--e1afmkfd.example/a",
    "123456789012.dkr.ecr.us-east-1.amazonaws.com/molecule-ai",
    "docker.io/molecule-ai",
    "docker.io/library",
    "registry-1.docker.io",
    "ghcr.io/a_b/a__b/a.b/a-b/a---b/0",
    "docker.io",
    "docker.io:443",
    "index.docker.io",
    "index.docker.io/a",
    "index.docker.io:443",
    "index.docker.io:443/a",
    "https://ghcr.io/molecule-ai",
    "oci://ghcr.io/molecule-ai",
    "https://ghcr.io/molecule-ai/",
    "https://",
    " ghcr.io/molecule-ai",
    "ghcr.io/molecule-ai ",
    "ghcr.io/molecule-ai\t",
    "ghcr.io/molecule-ai\n",
    "ghcr.io/molecule-ai\r\n",
    "\nghcr.io/molecule-ai",
    "ghcr.io/Molecule-AI",
    "GHCR.io/molecule-ai",
    "ghcr.io/molecule-ai/",
    "ghcr.io/molecule-ai:latest",
    "ghcr.io/molecule-ai/workspace-template-codex:v1",
    "ghcr.io/molecule-ai@sha256:00",
    "ghcr.io//molecule-ai",
    "/ghcr.io/molecule-ai",
    "/",
    "//",
    "ghcr.io/",
    "ghcr.io:latest",
    "ghcr.io/molécule",
    "ghcr.iо/a",
    "ghcr.io/a\u{200b}",
    "ghcr.io/a\0",
    "ghcr.io/molecule ai",
    "ghcr.io/a\nghcr.io/b",
    "  ",
    "\n",
    "\u{a0}",
    "user:word@ghcr.io/molecule-ai",
    ":5000/a",
    ":",
    "10.0.0.256/a",
    "10.0.0.01/a",
    "10.0.1/a",
    "5000:5000",
    "a.5/b",
    "-ghcr.io/a",
    "ghcr-.io/a",
    "my_host.io/a",
    "ghcr..io/a",
    "ghcr.io./a",
    "./a",
    "..",
    "host:",
    "host:0",
    "host:65536",
    "host:99999",
    "host:05000",
    "host:+5",
    "host:1:2/a",
    "[2001:db8::1]:5000/a",
    "2001:db8::1/a",
    "[fe80::1%eth0]:5000/a",
    "fe80::1%eth0/a",
    "myorg",
    "myorg/team",
    "ghcr.io/a:5/b",
    "ghcr.io/$(org)",
];

const PATHS: [&str; 12] = [
    "a___b", "a..b", "a._b", "-a", "a_", "../a", "a/../b", "a.-b", "a-_b", "a--", "A", "a/",
];

const RUNTIME_LISTS: [&str; 21] = [
    "",
    " zed , a-1,, ",
    "zed,codex,zed",
    ",",
    ", ,",
    " ",
    "Zed",
    "a_b",
    "-a",
    "a-",
    "a.b",
    "a b",
    "a\n",
    "a\n,b",
    "\ta",
    "a,\u{a0}b",
    "é",
    "a/b",
    "one\ntwo",
    "a;b",
    "0",
];

const PINS: [&str; 12] = [
    "",
    "latest",
    "sha256:",
    "sha512:00",
    "sha256:é",
    " ",
    "\n",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "SHA256:0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg",
    "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

const SECRET_LISTS: [&str; 14] = [
    "",
    "b, a.c,b,,1-x",
    "mirror-pull",
    ", ,",
    "A",
    "a_b",
    "a..b",
    ".a",
    "a.",
    "-a",
    "a-.b",
    "a b",
    "a\n",
    "a,b\n",
];

const URLS: [&str; 48] = [
    "",
    "http://platform:8080",
    "https://p.example.com/a?b=c",
    "http://[::1]:80/",
    "http://[::1]",
    "HTTPS://Platform.example.com",
    "http://a#b",
    "http://a?b",
    "http://a/?",
    "http://a/#",
    "http://a/%zz",
    "http://a/{b}",
    "http://a/\"b\"",
    "http://a?\"b\"",
    "http://a/`b`",
    "http://a?`b`",
    "http://a/<b>",
    "http://a?<b>",
    "http://a#<b>",
    "http://a/b\\c",
    "http://a\\b",
    "http://a_b/",
    "http://a%20b/",
    "http://a[b]",
    "http://[a]b",
    "http://[a]b:80",
    "http://[]",
    "http://[",
    "http://a[b:c]",
    "http://[1:2:3:4:5:6:7:8]",
    "http://[1:2:3:4:5:6:7:8:9:0]",
    "http://[::1%25eth0]:80",
    "http://a*/",
    "http://~",
    "platform",
    "/a",
    "*",
    "ftp://a",
    "http://",
    "http:///a",
    "http://:80",
    "http://a:",
    "http://a:0",
    "http://a:+80",
    "http://a:080",
    "http://a:65536",
    "http://a:1:2",
    "http://me:word@a",
];

const MORE_URLS: [&str; 9] = [
    "http://a@b/c@d",
    "http://a/b@c",
    "http://a?b@c",
    "http://a b",
    "http://a\n",
    "http://é",
    "http://a/é",
    "http:/a",
    "https:a",
];

const TIMEOUTS: [&str; 21] = [
    "",
    "1",
    "600",
    "86400",
    "0600",
    "000000000000000000000000000600",
    "0",
    "000",
    "86401",
    "99999",
    "100000",
    "-1",
    "+5",
    "10m",
    "1.5",
    "99999999999",
    "18446744073709551617",
    "1e3",
    " 600",
    "600\n",
    "٦",
];

const ROLLOUTS: [&str; 7] = [
    "",
    "OnRestart",
    "Paced",
    "onrestart",
    "Paced ",
    "\n",
    "Immediately",
];

const COUNTS: [&str; 19] = [
    "", "1", "25", "999999", "1000000", "0", "01", "+1", "-1", "1%", "10%", "100%", "101%", "0%",
    "5 %", "5%\n", "junk\n", "00", "00%",
];

/// Every one of them, by itself or with what it depends on.
pub fn table() -> Vec<Data> {
    let mut all = vec![
        Data::new(),
        data(&[("FUTURE", "a b"), ("PIN_elsewhere", "v1")]),
    ];
    let mut each = |key: &str, values: &[&str]| {
        all.extend(values.iter().map(|value| data(&[(key, value)])));
    };
    each(REGISTRY_KEY, &REGISTRIES);
    let paths = PATHS.map(|path| format!("ghcr.io/{path}"));
    each(REGISTRY_KEY, &paths.each_ref().map(String::as_str));
    each(EXTRA_RUNTIMES_KEY, &RUNTIME_LISTS);
    each(IMAGE_PULL_SECRETS_KEY, &SECRET_LISTS);
    each(PLATFORM_URL_KEY, &URLS);
    each(PLATFORM_URL_KEY, &MORE_URLS);
    each(PROVISION_TIMEOUT_SECONDS_KEY, &TIMEOUTS);
    each(WATCH_DIGESTS_SECONDS_KEY, &TIMEOUTS);
    each(WATCH_DIGESTS_SECONDS_KEY, &["9", "10", "010", "99"]);
    let seconds = [
        "",
        "0",
        "00",
        "010",
        "86400",
        "86401",
        "000086400",
        "-1",
        "1s",
        "5\n",
    ];
    each(ROLLOUT_MIN_READY_SECONDS_KEY, &seconds);
    each(ROLLOUT_KEY, &ROLLOUTS);
    for key in [ROLLOUT_MAX_UNAVAILABLE_KEY, ROLLOUT_MAX_FAILED_KEY] {
        each(key, &COUNTS);
    }
    for key in [ROLLOUT_PAUSED_KEY, ROLLOUT_ROLL_BACK_KEY, PREPULL_KEY] {
        each(key, &["", "true", "false", "True", "yes", "junk", "true\n"]);
    }
    // Of a switch that is only prepared the operator warns.
    each(NEXT_REGISTRY_KEY, &REGISTRIES);
    each("PIN_codex", &PINS);
    // Every one of the nine is known to the guard.
    for runtime in RUNTIMES {
        each(&format!("PIN_{runtime}"), &["v1", DIGEST]);
    }
    for value in PINS.into_iter().chain([DIGEST]) {
        all.push(data(&[
            (EXTRA_RUNTIMES_KEY, "a, zed ,b"),
            ("PIN_zed", value),
        ]));
        all.push(data(&[("PIN_zed", value)]));
    }
    all.extend(lengths());
    all
}

/// Both sides of every bound on a length.
fn lengths() -> Vec<Data> {
    let a = |count: usize| "a".repeat(count);
    let list = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("r{n}")).collect();
        names.join(",")
    };
    let prefix = |length: usize| format!("h.example/{}", a(length - "h.example/".len()));
    let subdomain = |length: usize| format!("{}.{}", a(200), a(length - 201));
    let mut all = Vec::new();
    for (key, values) in [
        (
            REGISTRY_KEY,
            vec![
                format!("{}.example/a", a(63)),
                format!("{}.example/a", a(64)),
            ],
        ),
        (
            REGISTRY_KEY,
            vec![prefix(224), prefix(225), prefix(300), prefix(100_000)],
        ),
        (
            EXTRA_RUNTIMES_KEY,
            vec![a(40), a(41), list(100), list(101), list(4000)],
        ),
        (
            IMAGE_PULL_SECRETS_KEY,
            vec![
                a(253),
                a(254),
                subdomain(253),
                subdomain(254),
                list(100),
                list(101),
            ],
        ),
        (
            PLATFORM_URL_KEY,
            vec![
                format!("http://a/{}", a(65_525)),
                format!("http://a/{}", a(65_526)),
                format!("http://a/{}", a(900_000)),
            ],
        ),
        ("PIN_codex", vec![a(900_000)]),
        (ROLLOUT_KEY, vec![a(900_000)]),
        (
            PROVISION_TIMEOUT_SECONDS_KEY,
            vec![format!("{}600", "0".repeat(1000))],
        ),
    ] {
        all.extend(values.iter().map(|value| data(&[(key, value)])));
    }
    // The longest runtime bounds the prefix.
    for (extra, most) in [(40, 195), (20, 215), (11, 224)] {
        for length in [most, most + 1] {
            all.push(data(&[
                (EXTRA_RUNTIMES_KEY, &a(extra)),
                (REGISTRY_KEY, &prefix(length)),
            ]));
        }
    }
    all
}

/// URLs, most of them with one slip of the finger.
pub fn any_url() -> impl Strategy<Value = String> {
    const SLIPS: &str = " \n:/@%[]{}<>\"'`\\^|#?&=+~*_.-A0é";
    let slips: Vec<char> = SLIPS.chars().collect();
    let authority = r"([a-zA-Z0-9._~-]{1,8}|\[[0-9a-f:]{0,6}\])(:[0-9]{0,6})?";
    let good = format!("(http|https|HTTP|ftp)://{authority}(/[!-~]{{0,6}})?([?#][!-~]{{0,6}})?");
    let good = proptest::string::string_regex(&good).expect("the expression is valid");
    let slip = (any::<Index>(), select(slips), 0..=1_usize);
    (good, proptest::option::of(slip)).prop_map(|(url, slip)| {
        let mut chars: Vec<char> = url.chars().collect();
        if let Some((at, slip, replaced)) = slip {
            let at = at.index(chars.len());
            chars.splice(at..at + replaced, [slip]);
        }
        chars.into_iter().collect()
    })
}
