use super::process::Process;
use super::*;
use clap::Parser;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(dir: &Path, line: &str) -> Args {
    let words = ["backends"].into_iter().chain(line.split(' '));
    let mut args = Line::parse_from(words).args;
    args.dir = Some(dir.to_owned());
    args
}

fn call(dir: &Path, line: &str) {
    run(dir, parse(dir, line)).unwrap_or_else(|error| panic!("{line}: {error:#}"));
}

fn up(dir: &Path, line: &str) -> Result<String> {
    let args = parse(dir, line);
    let Action::Up(up) = args.command else { panic!("{line} is no up") };
    start(dir, dir, &args.instance, up)
}

fn port(lines: &str, variable: &str) -> u16 {
    let line = lines.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('=')).unwrap();
    let address = line.rsplit(['@', '/']).find(|part| part.contains(':')).unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap()
}

fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"PING\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// PostgreSQL's answer to the question whether it speaks TLS: one letter, here no.
fn ask_tls(port: u16) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

/// A folder that others can enter, as a workspace usually is.
fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn lacks_servers(test: &str) -> bool {
    let missing = if process::find("redis-server").is_none() {
        "redis-server"
    } else if install::find_postgres().is_none() {
        "postgresql"
    } else {
        return false;
    };
    println!("skipped: backends::tests::{test}: {missing} is not installed (./test tools)");
    true
}

#[test]
fn redis_and_postgres_come_up_once_and_go_down() {
    if lacks_servers("redis_and_postgres_come_up_once_and_go_down") {
        return;
    }
    let dir = open_folder();
    let dir = dir.path();
    let lines = up(dir, "up redis postgres --fast").unwrap();
    let (redis, postgres) = (port(&lines, "ARTEL_TEST_REDIS"), port(&lines, "ARTEL_TEST_POSTGRES"));
    assert_eq!(ping(redis).unwrap(), "+PONG\r\n+OK\r\n");
    assert_eq!(ask_tls(postgres).unwrap(), b'N');
    assert_eq!(up(dir, "up postgres redis").unwrap(), lines, "they run already");

    let error = up(dir, "up postgres --durable").unwrap_err().to_string();
    assert!(error.contains("without fsync") && error.contains("--instance"), "{error}");

    let shown = Instance::look(dir, "default").unwrap().describe();
    assert!(shown.contains(&format!("port {redis}")) && shown.contains(" up "), "{shown}");

    call(dir, "signal redis kill");
    assert!(ping(redis).is_err());
    assert!(Instance::look(dir, "default").unwrap().describe().contains("has ended"));
    assert_eq!(up(dir, "up redis").unwrap(), lines, "again where it was");

    call(dir, "down --wipe");
    assert!(ping(redis).is_err() && ask_tls(postgres).is_err());
    assert!(!dir.join("default").exists());
    call(dir, "down --wipe");
}

#[test]
fn instances_stand_side_by_side_and_frozen_servers_are_stopped_too() {
    if lacks_servers("instances_stand_side_by_side_and_frozen_servers_are_stopped_too") {
        return;
    }
    let dir = open_folder();
    let dir = dir.path();
    let one = port(&up(dir, "up redis --instance one").unwrap(), "ARTEL_TEST_REDIS");
    let two = port(&up(dir, "up redis --instance two").unwrap(), "ARTEL_TEST_REDIS");
    assert_ne!(one, two);
    call(dir, "signal redis stop --instance one");
    call(dir, "down --instance one");
    assert!(ping(one).is_err());
    assert_eq!(ping(two).unwrap(), "+PONG\r\n+OK\r\n");
    call(dir, "down --all --wipe");
    assert!(ping(two).is_err());
    assert_eq!(instance::names(dir).unwrap(), Vec::<String>::new());
}

/// As below a home folder of root; for any other user it is a folder like others.
#[test]
fn postgres_finds_a_place_when_its_user_cannot_reach_the_folder() {
    if lacks_servers("postgres_finds_a_place_when_its_user_cannot_reach_the_folder") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lines = up(dir.path(), "up postgres --fast").unwrap();
    assert_eq!(ask_tls(port(&lines, "ARTEL_TEST_POSTGRES")).unwrap(), b'N');
    let elsewhere = Instance::look(dir.path(), "default").unwrap().state().postgres.clone();
    call(dir.path(), "down --wipe");
    assert!(elsewhere.is_none_or(|folder| !folder.exists()));
}

#[test]
fn a_number_that_belongs_to_another_process_now_is_left_alone() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let process = Process::with_pid(child.id()).unwrap();
    let mut other = serde_json::to_value(&process).unwrap();
    other["identity"] = "another program".into();
    let other: Process = serde_json::from_value(other).unwrap();
    assert!(!other.is_alive() && !other.signal(Signal::KILL));
    assert!(process.is_alive());
    assert!(process.signal(Signal::KILL));
    child.wait().unwrap();
    assert!(!process.is_alive() && !process.signal(Signal::KILL));
}

#[test]
fn ports_are_below_the_range_of_outgoing_connections_and_nobody_elses() {
    let first = ports::free(ports::start(), &BTreeSet::new()).unwrap();
    assert!((20_000..32_000).contains(&first));
    let next = ports::free(first, &BTreeSet::from([first])).unwrap();
    assert!((20_000..32_000).contains(&next) && next != first);
    let listener = std::net::TcpListener::bind(("127.0.0.1", next)).unwrap();
    assert_ne!(ports::free(next, &BTreeSet::new()).unwrap(), next);
    drop(listener);
}

#[test]
fn a_brokers_answer_names_the_living() {
    let mut answer = Vec::new();
    answer.extend(1_i32.to_be_bytes());
    answer.extend(2_i32.to_be_bytes());
    for (id, port, rack) in [(1_i32, 20_007_i32, None), (2, 20_003, Some("a"))] {
        answer.extend(id.to_be_bytes());
        answer.extend([&[0, 9], &b"127.0.0.1"[..]].concat());
        answer.extend(port.to_be_bytes());
        match rack {
            None => answer.extend((-1_i16).to_be_bytes()),
            Some(rack) => answer.extend([&[0, 1], str::as_bytes(rack)].concat()),
        }
    }
    let end = answer.len();
    // The controller and no topics.
    answer.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(wire::parse(&answer).unwrap(), [20_003, 20_007]);
    for cut in 0..end {
        assert!(wire::parse(&answer[..cut]).is_err(), "{cut} bytes");
    }
    answer[3] = 2;
    assert!(wire::parse(&answer).is_err());
}

#[test]
fn names_of_instances_are_folders_of_their_own() {
    for good in ["default", "crashes-2", "7"] {
        assert_eq!(instance::parse_name(good).as_deref(), Ok(good));
    }
    for bad in ["", "..", ".locks", "a/b", "Ä", "A", "-x", "a b"] {
        assert!(instance::parse_name(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn times_are_told_in_two_units() {
    let told = [0, 59, 60, 3_725, 90_061].map(instance::spoken);
    assert_eq!(told, ["0 s", "59 s", "1 min 0 s", "1 h 2 min", "1 d 1 h"]);
}
