//! `artel simulate`: what is outside, on this machine; and the same within a node, for `artel run --simulate`.

use crate::cli::{Simulate, Simulated};
use anyhow::{Context, Result};
use artel_contract::notify::Channel;
use artel_frame::client::Client;
use artel_frame::config::Config;
use artel_notify::NotifySettings;
use artel_notify::domain::sms_text::decode_gsm;
use artel_wires::simulators::fcm::FcmSimulatorSettings;
use artel_wires::simulators::smpp::SmppSimulatorSettings;
use artel_wires::simulators::twilio::TwilioSimulatorSettings;
use artel_wires::simulators::web_push::WebPushSimulatorSettings;
use artel_wires::simulators::{self, Listen, Running, Settings, smtp};
use artel_wires::web_push::VapidKey;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub async fn run(args: Simulate) -> Result<ExitCode> {
    let Simulated::Providers(args) = args.what;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let running =
        simulators::start(settings(args.port)).await.context("the simulators do not start; see --port")?;
    let file = prepare(&args.folder, &running, &args.node).await?;
    say(&running, &file)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Simulators within this process, and the settings that a node has them by.
pub struct Within {
    pub running: Running,
    /// TOML, to be laid below what is configured: a channel that has accounts keeps them.
    pub settings: String,
    /// Channels whose messages arrive at the simulators.
    pub channels: Vec<Channel>,
}

/// For a node whose configuration leaves channels without an account; `None` where it leaves none, or does not notify. What they
/// need is kept in the data folder: browsers have subscribed with the key that is there.
pub async fn within(config: &Config, port: u16) -> Result<Option<Within>> {
    let roles = &config.node.roles;
    if !roles.is_empty() && !roles.iter().any(|role| role == "notify") {
        return Ok(None);
    }
    // Whoever loaded the configuration has said what is wrong with the section.
    let Ok(own) = config.section::<NotifySettings>("notify") else { return Ok(None) };
    let bare = |channel: &Channel| own.channel(*channel).accounts.is_empty();
    let channels: Vec<Channel> = Channel::ALL.into_iter().filter(bare).collect();
    if channels.is_empty() {
        return Ok(None);
    }
    let running = simulators::start(settings(port)).await.context(
        "the simulated providers do not start; another port with --simulate=PORT, none of them with --no-simulate",
    )?;
    let folder = config.node.data_dir.join("simulated");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("make the folder {}", folder.display()))?;
    let reached = format!("http://{}", config.http.listen);
    let settings = fs::read_to_string(prepare(&folder, &running, &reached).await?)?;
    Ok(Some(Within { running, settings, channels }))
}

impl Within {
    /// What a person is told: what arrives where, and how to do without.
    pub fn sentence(&self) -> String {
        let names: Vec<&str> = self.channels.iter().map(|channel| channel.as_str()).collect();
        let page = self.running.front().map(|front| front.address().to_string()).unwrap_or_default();
        format!(
            "{} messages go to simulated providers: http://{page}/ shows what arrives (--no-simulate turns them off)",
            names.join(", ")
        )
    }
}

fn settings(port: u16) -> Settings {
    let listen = |nth: u16| Listen::loopback(if port == 0 { 0 } else { port + nth });
    Settings {
        front: Some(listen(0)),
        smtp: Some(smtp::Settings::on(listen(1).address)),
        smpp: Some(SmppSimulatorSettings {
            listen: listen(2).address,
            ..SmppSimulatorSettings::new(decode_gsm)
        }),
        fcm: Some(FcmSimulatorSettings { listen: listen(3), ..FcmSimulatorSettings::default() }),
        web_push: Some(WebPushSimulatorSettings { listen: listen(4), ..WebPushSimulatorSettings::default() }),
        twilio: Some(TwilioSimulatorSettings { listen: listen(5), ..TwilioSimulatorSettings::default() }),
        ..Settings::default()
    }
}

/// Writes the settings of a node that has accounts at them, and what these need; gives the file. `reached` is where the node
/// will be.
async fn prepare(folder: &Path, running: &Running, reached: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    let address = |name: &str| running.address(name).with_context(|| format!("{name} does not run"));
    let fcm = format!("http://{}", address("fcm")?);
    let account = Client::new(&fcm)?.get("/service-account.json").await?;
    let account = write("service-account.json", &account.text())?;
    let secret = write("smpp.secret", "simulated")?;
    // A key that is there is kept: browsers have subscribed with it.
    let vapid = folder.join("vapid.secret");
    if !vapid.exists() {
        write("vapid.secret", &VapidKey::generate()?.private())?;
    }
    let TwilioSimulatorSettings { account: sid, token, .. } = TwilioSimulatorSettings::default();
    let twilio = Second {
        base: format!("http://{}", address("twilio")?),
        sid,
        secret: write("twilio.secret", &token)?,
        callback: format!("{}/api/notify/callbacks/twilio/{SECOND}", reached.trim_end_matches('/')),
    };
    let text = node(address("smtp")?, address("smpp")?, &fcm, [&secret, &account, &vapid], &twilio);
    write("artel.toml", &text)
}

/// The account that takes the short messages that the first one does not.
const SECOND: &str = "simulated-sms-2";

struct Second {
    base: String,
    sid: String,
    secret: PathBuf,
    callback: String,
}

fn node(
    smtp: SocketAddr,
    smpp: SocketAddr,
    fcm: &str,
    [secret, account, vapid]: [&Path; 3],
    twilio: &Second,
) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
    format!(
        "# Written by `artel simulate providers`: accounts at the providers that it simulates.\n\
         [[notify.email.accounts]]\nname = \"simulated-mail\"\n[notify.email.accounts.smtp]\n\
         host = \"127.0.0.1\"\nport = {}\nsecurity = \"none\"\nfrom = \"parcels@example.com\"\nfrom_name = \"Parcels\"\n\n\
         [[notify.sms.accounts]]\nname = \"simulated-sms\"\n[notify.sms.accounts.smpp]\n\
         host = \"127.0.0.1\"\nport = {}\nsystem_id = \"artel\"\nsecret_file = {}\nfrom = \"Parcels\"\n\n\
         # Takes what the first one does not.\n\
         [[notify.sms.accounts]]\nname = \"{SECOND}\"\n[notify.sms.accounts.twilio]\n\
         account_sid = \"{}\"\nsecret_file = {}\nfrom = \"+15005550006\"\n\
         status_callback = \"{}\"\nbase = \"{}\"\n\n\
         [[notify.push.accounts]]\nname = \"simulated-apps\"\n[notify.push.accounts.fcm]\n\
         account_file = {}\nbase = \"{fcm}\"\n\n\
         [[notify.push.accounts]]\nname = \"simulated-browsers\"\n[notify.push.accounts.web_push]\n\
         contact = \"mailto:parcels@example.com\"\nkey_file = {}\nallow_loopback = true\n",
        smtp.port(),
        smpp.port(),
        quoted(secret),
        twilio.sid,
        quoted(&twilio.secret),
        twilio.callback,
        twilio.base,
        quoted(account),
        quoted(vapid),
    )
}

fn say(running: &Running, file: &Path) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(front) = running.front() {
        writeln!(out, "what arrives: http://{}/", front.address())?;
    }
    for (name, address) in running.servers() {
        writeln!(out, "{name}: {address}")?;
    }
    writeln!(out, "a node that sends to them: artel run --config {}", file.display())?;
    out.flush()?;
    Ok(())
}
