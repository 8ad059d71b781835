//! Configuration: layers, sources, and every problem at once.

use artel_frame::config::{
    BusAdapter, Compiled, Config, DEFAULTS, DbAdapter, Period, Problem, Secret, Size, Sources,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// Problems as text, the folder of the file cut off.
fn shown(problems: &[Problem]) -> Vec<String> {
    problems
        .iter()
        .map(|problem| problem.to_string().rsplit("/").next().unwrap_or_default().to_owned())
        .collect()
}

fn problems(sources: Sources) -> Vec<Problem> {
    Config::load(sources).expect_err("the configuration is wrong")
}

fn problems_in(text: &str) -> Vec<String> {
    let (_folder, path) = file(text);
    let problems = problems(Sources::new().file(Some(&path)));
    let folder = path.parent().unwrap().display().to_string() + "/";
    problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

fn set(name: &str, value: &str) -> Result<Config, Vec<String>> {
    Config::load(Sources::new().variables(variables(&[(name, value)])))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_defaults_are_a_whole_configuration() {
    let config = Config::load(Sources::new()).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.bus.partitions, 4);
    assert_eq!(config.bus_adapter(), Ok(BusAdapter::Segments("data/log".into())));
    assert_eq!(config.db_adapter(), Ok(DbAdapter::Sqlite("data/db".into())));
}

/// Keys of the typed sections, and keys of the commented file, those without a default included.
#[test]
fn every_key_stands_commented_in_the_file_and_no_other() {
    let config = Config::load(Sources::new()).unwrap();
    let sections = [
        ("node", serde_json::to_value(&config.node).unwrap()),
        ("bus", serde_json::to_value(&config.bus).unwrap()),
        ("db", serde_json::to_value(&config.db).unwrap()),
        ("cache", serde_json::to_value(&config.cache).unwrap()),
        ("http", serde_json::to_value(&config.http).unwrap()),
        ("outbound", serde_json::to_value(&config.outbound).unwrap()),
        ("flow", serde_json::to_value(&config.flow).unwrap()),
        ("telemetry", serde_json::to_value(&config.telemetry).unwrap()),
        ("auth", serde_json::to_value(&config.auth).unwrap()),
    ];
    let typed: BTreeSet<String> = sections
        .iter()
        .flat_map(|(name, section)| {
            section.as_object().unwrap().keys().map(move |key| format!("{name}.{key}"))
        })
        .collect();

    let (mut section, mut previous, mut documented) = (String::new(), "", BTreeSet::new());
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            assert!(previous.starts_with("# "), "[{section}] has no comment above it");
        }
        let key = line.strip_prefix("# ").unwrap_or(line).split_once(" = ").map(|(key, _)| key);
        if let Some(key) = key.filter(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
            assert!(!previous.is_empty(), "{section}.{key} has no comment above it");
            documented.insert(format!("{section}.{key}"));
        }
        previous = line;
    }
    let core: BTreeSet<&str> = sections.iter().map(|(name, _)| *name).collect();
    documented.retain(|key| core.contains(key.split('.').next().unwrap()));
    assert_eq!(typed, documented);
}

#[test]
fn later_sources_win_and_are_named() {
    let (_folder, path) =
        file("[http]\nlisten = \"127.0.0.1:1\"\nbody_limit = \"1MiB\"\n[bus]\npartitions = 8\n");
    let config = Config::load(
        Sources::new()
            .file(Some(&path))
            .variables(variables(&[
                ("ARTEL_HTTP_LISTEN", "127.0.0.1:2"),
                ("ARTEL_BUS_PARTITIONS", "9"),
                ("HOME", "/"),
            ]))
            .set("--listen", "http.listen", "127.0.0.1:3")
            .set_list("--roles", "node.roles", vec!["bridge".into()]),
    )
    .unwrap();
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!(config.http.body_limit, Size::bytes(1 << 20));
    assert_eq!(config.bus.partitions, 9);
    assert_eq!(config.node.roles, ["bridge"]);
    let effective = config.effective();
    let line = |start: &str| effective.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("listen = \"127.0.0.1:3\"").ends_with("# --listen"));
    assert!(line("body_limit = \"1MiB\"").ends_with("my.toml:3"));
    assert!(line("partitions = 9").ends_with("# ARTEL_BUS_PARTITIONS"));
    assert!(line("tries = ").contains("# default:"));
    assert!(toml::from_str::<toml::Table>(&effective).is_ok(), "{effective}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let problems = problems_in(
        "[http]\nlisen = \"127.0.0.1:1\"\nbody_limit = \"many\"\nconcurrency = -1\nrequest_timeout = 30\n\
         [bus]\npartitions = 0\nurl = \"nats://x\"\ncompression = \"gzip\"\n[flwo]\nx = 1\n\
         [auth]\ntokens = [{name = 1, secret = \"0123456789abcdef\", scopes = [\"read\"]}, {name = \"a\", scopes = [\"fly\"]}]\n",
    );
    assert_eq!(
        problems,
        [
            "my.toml:10: flwo: no such section; did you mean [flow]?",
            "my.toml:9: bus.compression: 'gzip' is none of none, lz4, zstd",
            "my.toml:3: http.body_limit: 'many' is not a size; write it as \"512KB\", \"64MiB\" or a number of bytes",
            "my.toml:4: http.concurrency: expected a whole number in range, found the number -1",
            "my.toml:2: http.lisen: no such key; did you mean 'listen'?",
            "my.toml:5: http.request_timeout: expected a length of time; write it as \"250ms\", \"30s\", \"5m\", \"12h\" \
             or \"30d\", found the number 30",
            "my.toml:13: auth.tokens[0].name: expected a text in quotes, found the number 1",
            "my.toml:13: auth.tokens[1].scopes[0]: 'fly' is none of produce, read, operate",
            "my.toml:8: bus.url: no adapter for 'nats:'; write segments: or kafka://HOST:PORT",
            "my.toml:7: bus.partitions: 0 is out of range; 1 to 1024 is allowed",
            "my.toml:13: auth.tokens[1].secret: missing; set secret or sha256",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_names_its_lines() {
    let problems = problems_in("[http]\nlisten = \nbody_limit = \"1MiB\nx y\n");
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.starts_with("my.toml:") && problem.contains("not TOML")));
    let missing = problems_in_missing_file();
    assert_eq!(
        missing,
        ["none.toml: no such file; check --config and ARTEL_CONFIG, or leave them out for the defaults"]
    );
}

fn problems_in_missing_file() -> Vec<String> {
    shown(&problems(Sources::new().file(Some("/nowhere/none.toml"))))
}

#[test]
fn adapters_are_named_by_url() {
    for (variable, url, reason) in [
        ("ARTEL_DB_URL", "postgres://a@h/d", "postgres is not compiled in; rebuild with --features postgres"),
        ("ARTEL_BUS_URL", "kafka://h:9092", "kafka is not compiled in; rebuild with --features kafka"),
        ("ARTEL_CACHE_URL", "redis://h:6379", "redis is not compiled in; rebuild with --features redis"),
        (
            "ARTEL_DB_URL",
            "mysql://h",
            "no adapter for 'mysql:'; write sqlite: or postgres://USER:PASSWORD@HOST/DATABASE",
        ),
        ("ARTEL_BUS_URL", "data/log", "'data/log' has no scheme; write segments: or kafka://HOST:PORT"),
        ("ARTEL_CACHE_URL", "memory:x", "'memory:x' has more than its scheme; write memory:"),
        (
            "ARTEL_DB_URL",
            "sqlite://data",
            "'sqlite://data' is not a folder; write sqlite:FOLDER without slashes before it, or sqlite:",
        ),
    ] {
        let key = if variable.contains("DB") {
            "db.url"
        } else if variable.contains("BUS") {
            "bus.url"
        } else {
            "cache.url"
        };
        assert_eq!(set(variable, url).unwrap_err(), [format!("{variable}: {key}: {reason}")]);
    }
    let all = Compiled { kafka: true, postgres: true, redis: true, otlp: true };
    let pairs = [("ARTEL_BUS_URL", "kafka://a:1,b:2"), ("ARTEL_DB_URL", "postgres://u:geheim@h/d")];
    let config = Config::load(Sources::new().compiled(all).variables(variables(&pairs))).unwrap();
    assert_eq!(config.bus_adapter(), Ok(BusAdapter::Kafka("a:1,b:2".into())));
    let Ok(DbAdapter::Postgres(url)) = config.db_adapter() else { panic!("postgres is compiled in") };
    assert_eq!(url.expose(), "postgres://u:geheim@h/d");
    assert!(!format!("{config:?}{}", config.effective()).replace("geheim", "").is_empty());
    assert!(!config.effective().contains("geheim"));
    let wrong = Sources::new().compiled(all).set("--bus", "bus.url", "kafka://broker");
    assert!(problems(wrong)[0].reason.contains("names a broker without a port"));
}

#[test]
fn another_address_than_loopback_needs_a_token() {
    let listen = ("ARTEL_HTTP_LISTEN", "0.0.0.0:8080");
    assert_eq!(
        set(listen.0, listen.1).unwrap_err(),
        [
            "ARTEL_HTTP_LISTEN: http.listen: 0.0.0.0:8080 can be reached from other machines and [auth] has no token; set \
          auth.operator_token or auth.tokens, or listen on 127.0.0.1"
        ]
    );
    let token = ("ARTEL_AUTH_OPERATOR_TOKEN", "a-token-of-the-operator");
    assert!(Config::load(Sources::new().variables(variables(&[listen, token]))).is_ok());
    assert!(set("ARTEL_HTTP_LISTEN", "[::1]:80").is_ok());
    assert_eq!(
        set("ARTEL_HTTP_LISTEN", "localhost").unwrap_err(),
        [
            "ARTEL_HTTP_LISTEN: http.listen: 'localhost' is not an address with a port; write it as 127.0.0.1:8080"
        ]
    );
}

#[test]
fn variables_are_read_as_the_type_of_their_key() {
    let config = Config::load(Sources::new().variables(variables(&[
        ("ARTEL_HTTP_CORS_ORIGINS", "https://a.example, http://b.example:81"),
        ("ARTEL_HTTP_COMPRESSION", "false"),
        ("ARTEL_TELEMETRY_TRACE_RATIO", "0.5"),
        ("ARTEL_FLOW_ANSWERED_FOR", "1h"),
        ("ARTEL_BUS_RETENTION_BYTES", "1GiB"),
        ("ARTEL_NODE_NAME", "7"),
        ("ARTEL_AUTH_TOKENS", "[{name = \"ci\", secret = \"0123456789abcdef\", scopes = [\"produce\"]}]"),
        // Not settings: the program's own, and what Kubernetes sets for a service of that name.
        ("ARTEL_CONFIG", "x.toml"),
        ("ARTEL_TEST_POSTGRES_URL", "x"),
        ("ARTEL_PORT", "tcp://10.0.0.1:80"),
        ("ARTEL_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("ARTEL_SERVICE_HOST", "10.0.0.1"),
    ])))
    .unwrap();
    assert_eq!(config.http.cors_origins, ["https://a.example", "http://b.example:81"]);
    assert!(!config.http.compression);
    assert_eq!(config.flow.answered_for, Period::millis(3_600_000));
    assert_eq!(config.bus.retention_bytes, Some(Size::bytes(1 << 30)));
    assert_eq!((&*config.node.name, &*config.auth.tokens[0].name), ("7", "ci"));
}

#[test]
fn mistyped_variables_are_refused() {
    for (name, reason) in [
        ("ARTEL_HTP_LISTEN", "no section 'htp'; did you mean ARTEL_HTTP_LISTEN?"),
        (
            "ARTEL_NONSENSE",
            "no setting of this name; write it as ARTEL_<SECTION>_<KEY>, or unset ARTEL_NONSENSE",
        ),
    ] {
        assert_eq!(set(name, "1").unwrap_err(), [format!("{name}: {reason}")]);
    }
    assert_eq!(
        set("ARTEL_HTTP_LISEN", "1").unwrap_err(),
        ["ARTEL_HTTP_LISEN: http.lisen: no such key; did you mean 'listen'?"]
    );
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let (_folder, path) = file("a-secret-that-nobody-sees\n");
    let path = path.display().to_string();
    let pairs = variables(&[("ARTEL_AUTH_OPERATOR_TOKEN_FILE", &path)]);
    let config = Config::load(Sources::new().variables(pairs.clone())).unwrap();
    assert_eq!(config.auth.operator_token, Some(Secret::new("a-secret-that-nobody-sees")));
    assert!(!format!("{:?}", config.auth).contains("nobody"));
    assert!(!serde_json::to_string(&config.auth).unwrap().contains("nobody"));
    let effective = config.effective();
    assert!(!effective.contains("nobody") && effective.contains("operator_token = \"***\""), "{effective}");
    assert!(effective.contains("# ARTEL_AUTH_OPERATOR_TOKEN_FILE"));

    let twice = [pairs, variables(&[("ARTEL_AUTH_OPERATOR_TOKEN", "a-secret-that-nobody-sees")])].concat();
    let problems = shown(&problems(Sources::new().variables(twice)));
    assert_eq!(
        problems,
        [
            "ARTEL_AUTH_OPERATOR_TOKEN_FILE: auth.operator_token: set twice, as a variable and as a _FILE variable; unset \
          one of them"
        ]
    );
    let gone = set("ARTEL_AUTH_OPERATOR_TOKEN_FILE", "/nowhere/token").unwrap_err();
    assert!(gone[0].contains("cannot read the file '/nowhere/token'"), "{gone:?}");
}

#[test]
fn problems_do_not_repeat_secrets() {
    for text in [
        "[auth]\noperator_token = 123456789123456789\n",
        "[auth]\noperator_token = \"geheim\"\n",
        "[auth]\ntokens = [{name = \"a\", secret = [\"geheim\"], scopes = []}]\n",
        "[db]\nurl = \"mysql://u:geheim@h\"\n",
    ] {
        let problems = problems_in(text).join("\n");
        assert!(!problems.contains("geheim") && !problems.contains("123456789123456789"), "{problems}");
    }
}

#[test]
fn tokens_are_checked() {
    let problems = problems_in(
        "[auth]\ntokens = [\n{name = \"a\", secret = \"0123456789abcdef\", scopes = []},\n\
         {name = \"b\", secret = \"short\", scopes = [\"read\"]},\n{name = \"c\", scopes = [\"read\"]},\n\
         {name = \"d\", sha256 = \"12\", scopes = [\"read\"]},\n{name = \"d\", sha256 = \"12\", scopes = [\"read\"]},\n\
         {name = \"operator\", secret = \"0123456789abcdef\", scopes = [\"read\"]},\n]\n",
    );
    assert_eq!(
        problems,
        [
            "my.toml:3: auth.tokens[0].scopes: empty; list some of produce, read, operate",
            "my.toml:4: auth.tokens[1].secret: too short; use at least 16 characters",
            "my.toml:5: auth.tokens[2].secret: missing; set secret or sha256",
            "my.toml:6: auth.tokens[3].sha256: not a SHA-256; write 64 hexadecimal digits",
            "my.toml:7: auth.tokens[4].name: 'd' stands twice; give each token a name of its own",
            "my.toml:8: auth.tokens[5].name: taken by the system itself; choose another",
        ]
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Demo {
    keep: Period,
    limits: Limits,
    smtp_password: Option<Secret>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    width: u16,
}

const DEMO: &str = "[demo]\nkeep = \"30d\"\n[demo.limits]\nwidth = 4\n";

#[test]
fn a_service_reads_its_own_section() {
    let sources = Sources::new()
        .defaults("demo.toml", DEMO)
        .variables(variables(&[("ARTEL_DEMO_LIMITS__WIDTH", "8"), ("ARTEL_DEMO_SMTP_PASSWORD", "geheim")]));
    let config = Config::load(sources).unwrap();
    let demo: Demo = config.section("demo").unwrap();
    assert_eq!((demo.keep, demo.limits.width), (Period::millis(2_592_000_000), 8));
    assert!(!config.effective().contains("geheim"));
    assert!(config.effective().contains("[demo.limits]\nwidth = 8"));
    assert_eq!(config.problem("demo.limits.width", "too wide").source, "ARTEL_DEMO_LIMITS__WIDTH");
}

#[test]
fn a_wrong_section_of_a_service_names_its_keys() {
    let (_folder, path) = file("[demo]\nkeep = \"always\"\nlimit = 1\n[demo.limits]\nwidth = 70000\n");
    let config = Config::load(Sources::new().defaults("demo.toml", DEMO).file(Some(&path))).unwrap();
    let problems = config.section::<Demo>("demo").unwrap_err();
    assert_eq!(
        shown(&problems),
        [
            "my.toml:2: demo.keep: 'always' is not a length of time; write it as \"250ms\", \"30s\", \"5m\", \"12h\" or \
             \"30d\"",
            "my.toml:3: demo.limit: no such key; did you mean 'limits'?",
            "my.toml:5: demo.limits.width: expected a whole number in range, found the number 70000",
        ]
    );
    let missing = config.section::<Demo>("other").unwrap_err();
    assert_eq!(shown(&missing), ["no source: other.keep: missing; set it"]);
}

proptest::proptest! {
    #[test]
    fn no_file_and_no_variable_panics(
        text in "(\\[(http|bus|auth|x)\\]\n)?([a-z_]{1,8} = [-0-9a-z\"\\[\\]{},. =]{0,12}\n){0,6}\\PC{0,20}",
        name in "ARTEL_[A-Z_]{0,20}",
        value in "\\PC{0,20}",
    ) {
        let (_folder, path) = file(&text);
        let sources = Sources::new().file(Some(&path)).variables([(name, value)]);
        if let Err(problems) = Config::load(sources) {
            proptest::prop_assert!(!problems.is_empty());
            proptest::prop_assert!(problems.iter().all(|problem| !problem.reason.is_empty()));
        }
    }
}

#[test]
fn what_is_missing_in_a_list_hides_no_other_problem() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let text = "[http]\nlisten = \"0.0.0.0:80\"\nconcurrency = 0\n[bus]\nurl = \"rabbit://x\"\n[auth]\n\
                operator_token = \"short\"\ntokens = [\n  { name = \"a\", secret = \"0123456789abcdef\" },\n  5,\n  \
                { name = \"b\", secret = \"xx\", scopes = [\"read\"] },\n]\n";
    std::fs::write(&file, text).unwrap();
    let further = |config: &Config| vec![config.problem("bridge.keep_days", "too many")];
    let problems = Config::load_with(Sources::new().file(Some(file)), further).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| &*problem.path).collect();
    let expected = [
        "auth.tokens[0].scopes",
        "auth.tokens[1]",
        "bus.url",
        "http.concurrency",
        "auth.operator_token",
        "auth.tokens[2].secret",
        "bridge.keep_days",
    ];
    assert_eq!(paths, expected, "{problems:#?}");
}
