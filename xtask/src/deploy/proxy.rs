//! The configuration of nginx, by nginx itself.

use super::tools::{Tools, finish};
use super::{Places, Report};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

const FILE: &str = "deploy/nginx.conf";
/// From here on nginx without its paid modules asks for the names of an upstream again (`resolve`).
const RESOLVES: (u32, u32, u32) = (1, 27, 3);

pub fn check(places: &Places, tools: &Tools, report: &mut Report) -> Result<()> {
    let text = places.text(FILE)?;
    for hidden in ["/livez", "/readyz", "/metrics"] {
        if !text.contains(&format!("location = {hidden} {{ return 404; }}")) {
            report.problem(format!(
                "{FILE}: {hidden} is not kept inside: location = {hidden} {{ return 404; }}"
            ));
        }
    }
    if directives(&text).any(|line| line.contains("non_idempotent")) {
        report.problem(format!("{FILE}: non_idempotent would send a command twice"));
    }
    let nginx = match tools.find("nginx") {
        Ok(nginx) => nginx,
        Err(error) => {
            report.skip("proxy", &format!("{error:#}"));
            return Ok(());
        }
    };
    let version = version(&nginx)?;
    let copy = copy(&text, &places.scratch.path().to_string_lossy(), version >= RESOLVES);
    if version < RESOLVES {
        report.note(format!(
            "nginx {}.{}.{} knows no `resolve`; checked without that word",
            version.0, version.1, version.2
        ));
    }
    places.scratch("mime.types", "types { text/html html; }\n")?;
    let path = places.scratch("nginx.conf", &copy)?;
    if let Err(error) = finish(Command::new(nginx).args(["-t", "-q", "-c"]).arg(path)) {
        report.problem(format!("{FILE}: {error:#}"));
    }
    Ok(())
}

fn directives(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#'))
}

/// Servers under names of a network that is not here stand for this machine, and files go into the scratch folder.
fn copy(text: &str, scratch: &str, resolves: bool) -> String {
    let mut copy = String::new();
    for line in text.lines() {
        let is_server = line.trim_start().starts_with("server artel-");
        let mut line = line.to_owned();
        if is_server && !resolves {
            line = line.replace(" resolve", "");
        }
        if is_server && let Some((host, rest)) = line.split_once(":8080") {
            let indent = &host[..host.len() - host.trim_start().len()];
            line = format!("{indent}server 127.0.0.1:8080{rest}");
        }
        let temporary = ["/t", "mp/"].concat();
        copy.push_str(&line.replace(&temporary, &format!("{scratch}/")).replace("/etc/nginx/", ""));
        copy.push('\n');
    }
    copy
}

fn version(nginx: &Path) -> Result<(u32, u32, u32)> {
    let output = Command::new(nginx).arg("-v").output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = text.split('/').nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    Ok((next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_this_machine() {
        let text = "include /etc/nginx/mime.types;\npid /tmp/a;\n    server artel-1:8080 resolve max_fails=3;\nserver_name _;\n";
        assert_eq!(
            copy(text, "/s", false),
            "include mime.types;\npid /s/a;\n    server 127.0.0.1:8080 max_fails=3;\nserver_name _;\n"
        );
        assert!(copy(text, "/s", true).contains("127.0.0.1:8080 resolve max_fails"));
    }
}
