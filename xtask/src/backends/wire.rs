//! Just enough of Kafka's protocol to ask a broker which brokers it knows to be alive. A broker takes requests only once it
//! has caught up, and names only brokers that the controller has let in: all of them named by each of them is ready.

use anyhow::{Context as _, Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const METADATA: i16 = 3;
const VERSION: i16 = 1;
const MOST_BYTES: usize = 1 << 20;

/// The ports of the brokers that the one on `port` knows to be alive, sorted.
pub fn brokers(port: u16) -> Result<Vec<u16>> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&request())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).context("a negative length")?;
    ensure!(length <= MOST_BYTES, "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    parse(&answer)
}

/// Metadata for no topic at all.
fn request() -> Vec<u8> {
    let client = b"artel-backends";
    let mut body = Vec::new();
    body.extend(METADATA.to_be_bytes());
    body.extend(VERSION.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(client.len()).unwrap_or_default().to_be_bytes());
    body.extend(client);
    body.extend(0_i32.to_be_bytes());
    let mut framed = i32::try_from(body.len()).unwrap_or_default().to_be_bytes().to_vec();
    framed.extend(body);
    framed
}

/// Correlation, then the brokers: id, host, port, rack. What follows is not looked at.
pub fn parse(answer: &[u8]) -> Result<Vec<u16>> {
    let mut rest = answer;
    ensure!(int(&mut rest)? == 1, "an answer to another request");
    let count = int(&mut rest)?;
    let mut ports = Vec::new();
    for _ in 0..count {
        int(&mut rest)?;
        text(&mut rest)?;
        ports.push(u16::try_from(int(&mut rest)?).context("a broker's port")?);
        text(&mut rest)?;
    }
    ports.sort_unstable();
    Ok(ports)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length).context("an answer cut short")?;
    *rest = left;
    Ok(taken)
}

fn int(rest: &mut &[u8]) -> Result<i32> {
    let bytes = take(rest, 4)?;
    Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | i32::from(*byte)))
}

/// Skips a text; its length is -1 when it is null.
fn text(rest: &mut &[u8]) -> Result<()> {
    let length = take(rest, 2)?;
    let length = i16::from_be_bytes([length[0], length[1]]);
    take(rest, usize::try_from(length).unwrap_or(0)).map(|_| ())
}
