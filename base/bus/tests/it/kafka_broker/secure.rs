//! TLS and logins under it, against a broker whose certificate an authority of the test has signed.

use super::own::{BrokerTls, Cluster, Options, libs};
use super::{append, config, open, read_all, ready, text, topic, within};
use artel_bus::kafka::{Certificate, Kafka, KafkaConfig, Mechanism, Sasl, Secret, Security, Tls};
use artel_bus::{BusError, Log, Topics};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Signs certificates of others.
struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Authority {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.join("authority.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    /// Its own certificate.
    fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    fn tls(&self) -> Tls {
        Tls { ca_file: Some(self.file()), certificate: None }
    }

    /// A certificate for `host`, with its key.
    fn sign(&self, host: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let [certificate_file, key_file] =
            ["pem", "key"].map(|end| self.folder.join(format!("{host}.{end}")));
        fs::write(&certificate_file, signed.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        Certificate { certificate_file, key_file, key_password: None }
    }

    /// What a broker on this machine is given.
    fn broker(&self) -> BrokerTls {
        let Certificate { certificate_file, key_file, .. } = self.sign("127.0.0.1");
        let own = self.folder.join("broker.pem");
        let [key, certificate] = [key_file, certificate_file].map(|file| fs::read_to_string(file).unwrap());
        fs::write(&own, key + &certificate).unwrap();
        BrokerTls { own, trusted: self.file() }
    }
}

fn sasl(mechanism: Mechanism, password: &str) -> Sasl {
    Sasl { mechanism, user: "eva".to_owned(), password: Secret::new(password) }
}

/// The sentence of a refusal, which has to come at once and not at a deadline.
async fn refusal(what: &str, address: &str, security: Security) -> String {
    let patient = Duration::from_secs(60);
    let bus = open(KafkaConfig { security, request_deadline: patient, ..config(address) });
    let sentence = match within(what, bus.list()).await {
        Err(BusError::Denied(sentence)) => sentence,
        other => panic!("{what} should be denied, not {other:?}"),
    };
    within("closing", bus.close()).await;
    sentence
}

async fn works(what: &str, address: &str, security: Security) {
    let bus = ready(KafkaConfig { security, ..config(address) }).await;
    let name = topic(&bus, 1).await;
    append(&bus, &name, &[what.to_owned()]).await.expect("appended");
    let read: Vec<String> = read_all(&bus, &name, 0).await.iter().map(text).collect();
    assert_eq!(read, [what]);
    within("closing", bus.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_logins_and_certificates() {
    let Some(libs) = libs("secure::tls_logins_and_certificates") else { return };
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours", "other"].map(|name| Authority::new(folder.path(), name));
    let (tls, users) = (ours.broker(), [("eva", "right")]);
    let options = Options { users: &users, tls: Some(&tls), ..Options::default() };
    let cluster = Cluster::start(libs, 1, &options);
    drop(ready(config(&cluster.address())).await);

    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let security = |password| Security::SaslSsl(sasl(mechanism, password), ours.tls());
        works(mechanism.name(), &cluster.login_address(), security("right")).await;
        let refused = refusal("a wrong password", &cluster.login_address(), security("wrong-one")).await;
        let says = ["'eva'", mechanism.name(), "check the user, its password and the mechanism"];
        assert!(
            says.iter().all(|part| refused.contains(part)) && !refused.contains("wrong-one"),
            "{refused}"
        );
    }
    untrusted(&cluster, &ours, &other).await;
    shown(&cluster, &ours, &other).await;
}

/// Brokers that are not who they should be.
async fn untrusted(cluster: &Cluster, ours: &Authority, other: &Authority) {
    let login = |tls| Security::SaslSsl(sasl(Mechanism::Plain, "right"), tls);
    let address = cluster.login_address();
    let says = |refused: &str| {
        assert!(refused.contains("no TLS connection") && refused.contains("check the CA file"), "{refused}");
    };
    says(&refusal("another authority", &address, login(other.tls())).await);
    says(&refusal("the system's authorities", &address, login(Tls::default())).await);
    let elsewhere = address.replace("127.0.0.1", "localhost");
    says(&refusal("a certificate of another host", &elsewhere, login(ours.tls())).await);
    // What looks like brokers that went away may come back, so that a start waits for them.
    let plain = cluster.address();
    for (address, security) in [(&plain, Security::Ssl(ours.tls())), (&address, Security::Plaintext)] {
        let short = Duration::from_secs(3);
        let bus = open(KafkaConfig { security, request_deadline: short, ..config(address) });
        match within("another protocol", bus.check()).await {
            Err(BusError::Unavailable(sentence)) => {
                assert!(sentence.contains(address) && sentence.contains("ask for TLS"), "{sentence}");
            }
            other => panic!("nobody should answer, not {other:?}"),
        }
        within("closing", bus.close()).await;
    }
}

/// Brokers that ask for a certificate.
async fn shown(cluster: &Cluster, ours: &Authority, other: &Authority) {
    let address = cluster.shown_address();
    let with = |certificate| Security::Ssl(Tls { certificate, ..ours.tls() });
    works("a certificate", &address, with(Some(ours.sign("eva")))).await;
    for (what, certificate) in [("no certificate", None), ("another's", Some(other.sign("eva")))] {
        let refused = refusal(what, &address, with(certificate)).await;
        assert!(refused.contains("our own where they ask for one"), "{what}: {refused}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ours");
    let (own, missing) = (authority.sign("eva"), folder.path().join("missing"));
    let no_pem = folder.path().join("der");
    fs::write(&no_pem, [0x30, 0x82, 1, 2]).unwrap();
    let shown = |certificate| Tls { certificate: Some(certificate), ..authority.tls() };
    let cases = [
        (Tls { ca_file: Some(missing.clone()), certificate: None }, "ca_file", &missing),
        (Tls { ca_file: Some(no_pem.clone()), certificate: None }, "ca_file", &no_pem),
        (
            shown(Certificate { certificate_file: missing.clone(), ..own.clone() }),
            "certificate_file",
            &missing,
        ),
        (shown(Certificate { key_file: missing.clone(), ..own.clone() }), "key_file", &missing),
    ];
    for (tls, setting, file) in cases {
        let settings = KafkaConfig { security: Security::Ssl(tls), ..config("127.0.0.1:1") };
        let error = Kafka::open(settings).err().expect("it can't be read").to_string();
        assert!(error.contains(setting) && error.contains(file.to_str().unwrap()), "{error}");
    }
    let not_its_key = Certificate { key_file: authority.sign("adam").key_file, ..own };
    let settings = KafkaConfig { security: Security::Ssl(shown(not_its_key)), ..config("127.0.0.1:1") };
    let error = Kafka::open(settings).err().expect("they don't fit").to_string();
    assert!(error.contains("key"), "{error}");
}
