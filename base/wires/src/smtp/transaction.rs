//! One mail over a connection (RFC 5321, section 3.3; pipelined as RFC 2920 has it).

use super::connection::Connection;
use super::reply::{self, Reply};
use super::settings::Limits;
use super::wire::Mail;
use crate::link::Fault;
use crate::said::{Said, Stage, Step};

/// What came of a mail, and of the connection.
pub(super) struct Done {
    pub said: Said,
    /// What the server calls the mail.
    pub reference: Option<String>,
    /// The connection can carry another mail.
    pub keep: bool,
    /// The connection had ended before anything was heard.
    pub ended: bool,
}

/// How far a mail came without its content.
pub(super) enum Carried {
    /// The server waits for the content.
    Ready,
    Done(Done),
}

/// Carries a mail's envelope over; its content is next. If the future is dropped, so has the connection to be.
pub(super) async fn envelope(connection: &mut Connection, mail: &Mail, limits: &Limits) -> Carried {
    if let Some(said) = unfit(connection, mail) {
        return Carried::Done(Done { said, reference: None, keep: true, ended: false });
    }
    connection.mails += 1;
    let mut envelope = Envelope { refusal: None, heard: 0, accepted: false };
    let failed = envelope.hand_over(connection, mail, limits).await.err();
    if let Some((step, refusal)) = envelope.refusal {
        // The rest does not matter for the mail, only for the connection.
        let keep = failed.is_none() && refusal.code != 421;
        connection.reset = true;
        return Carried::Done(Done { said: refusal.said(step), reference: None, keep, ended: false });
    }
    if let Some(fault) = failed {
        let ended = envelope.heard == 0 && matches!(fault, Fault::Closed | Fault::Io(_));
        let said = Said::Broken { stage: Stage::Before, text: fault.to_string() };
        return Carried::Done(Done { said, reference: None, keep: false, ended });
    }
    Carried::Ready
}

/// The commands of one mail up to DATA, and what was answered.
struct Envelope {
    /// The first refusal, and what it is to.
    refusal: Option<(Step, Reply)>,
    heard: usize,
    /// The server waits for the mail's content.
    accepted: bool,
}

impl Envelope {
    /// Afterwards either the server waits for the content, or there is a refusal and the server waits for a command. An error
    /// means that the connection is of no use any more; there may be a refusal beside it.
    async fn hand_over(
        &mut self,
        connection: &mut Connection,
        mail: &Mail,
        limits: &Limits,
    ) -> Result<(), Fault> {
        // RSET is about the mail before.
        let steps = [Step::Connection, Step::From, Step::To, Step::Data];
        let steps = &steps[usize::from(!connection.reset)..];
        let at_once = connection.abilities.pipelining;
        if at_once {
            connection.out.clear();
            steps.iter().for_each(|step| put(*step, connection, mail));
            connection.link.write(&connection.out, limits.command, &mut false).await?;
        }
        for step in steps {
            if !at_once {
                connection.out.clear();
                put(*step, connection, mail);
                connection.link.write(&connection.out, limits.command, &mut false).await?;
            }
            let limit = if *step == Step::Data { limits.data_start } else { limits.command };
            let reply = reply::read(&mut connection.link, limit).await?;
            self.heard += 1;
            self.look(*step, reply)?;
            if self.refusal.as_ref().is_some_and(|(_, refusal)| !at_once || refusal.code == 421) {
                return Ok(());
            }
        }
        if self.accepted && self.refusal.is_some() {
            // RFC 2920, section 3.1: the server wants content for nobody, and the dot alone ends it.
            connection.link.write(b".\r\n", limits.data_block, &mut false).await?;
            reply::read(&mut connection.link, limits.data_end).await?;
        }
        connection.reset = false;
        Ok(())
    }

    fn look(&mut self, step: Step, reply: Reply) -> Result<(), Fault> {
        match (step, reply.code) {
            (Step::Connection, 421) => self.refusal = Some((step, reply)),
            (Step::Connection | Step::From | Step::To, _) if reply.good() => {}
            (Step::Data, 354) => self.accepted = true,
            (Step::From, 503) | (Step::Connection, _) => {
                // It is somewhere else than we are: that is no answer about this mail.
                return Err(Fault::Senseless("the server has lost track of the commands"));
            }
            (_, 400..) => {
                self.refusal.get_or_insert((step, reply));
            }
            _ => return Err(Fault::Senseless("an answer that does not belong to the command")),
        }
        Ok(())
    }
}

fn put(step: Step, connection: &mut Connection, mail: &Mail) {
    let out = &mut connection.out;
    match step {
        Step::Connection => out.extend_from_slice(b"RSET\r\n"),
        Step::From => {
            out.extend_from_slice(b"MAIL FROM:<");
            if let Some(from) = &mail.envelope.from {
                out.extend_from_slice(from.to_string().as_bytes());
            }
            out.push(b'>');
            if connection.abilities.size.is_some() {
                out.extend_from_slice(format!(" SIZE={}", mail.size).as_bytes());
            }
            if mail.eight_bit {
                out.extend_from_slice(b" BODY=8BITMIME");
            }
            if mail.utf8 {
                out.extend_from_slice(b" SMTPUTF8");
            }
            out.extend_from_slice(b"\r\n");
        }
        Step::To => out.extend_from_slice(format!("RCPT TO:<{}>\r\n", mail.envelope.to).as_bytes()),
        Step::Data => out.extend_from_slice(b"DATA\r\n"),
    }
}

/// The mail itself. From the moment that its last byte may have gone out, silence is no refusal.
pub(super) async fn content(connection: &mut Connection, mail: &Mail, limits: &Limits) -> Done {
    let mut whole = false;
    let answer = match connection.link.write(&mail.wire, limits.data_block, &mut whole).await {
        Ok(()) => reply::read(&mut connection.link, limits.data_end).await,
        Err(fault) => Err(fault),
    };
    let answer = answer.and_then(|reply| match reply.code {
        200..300 | 400.. => Ok(reply),
        _ => Err(Fault::Senseless("an answer that does not belong to the final dot")),
    });
    match answer {
        Ok(reply) => {
            connection.reset = !reply.good();
            let reference = reply.good().then(|| reply.reference()).flatten();
            Done { keep: reply.code != 421, said: reply.said(Step::Data), reference, ended: false }
        }
        Err(fault) => {
            let stage = if whole { Stage::After } else { Stage::Before };
            let said = Said::Broken { stage, text: fault.to_string() };
            Done { said, reference: None, keep: false, ended: false }
        }
    }
}

/// What this server said in EHLO that it can't take: its limits, and nothing of the recipient.
fn unfit(connection: &Connection, mail: &Mail) -> Option<Said> {
    let able = &connection.abilities;
    let reason = match able.size {
        // RFC 6531, section 3.5.
        _ if mail.utf8 && !able.utf8 => "to: the server has no SMTPUTF8, and an address or a header needs it",
        _ if mail.eight_bit && !able.eight_bit => {
            "content: the server has no 8BITMIME, and the mail has bytes above 127"
        }
        // RFC 1870, section 6.
        Some(most) if most > 0 && mail.size as u64 > most => {
            "content: the mail is larger than the server takes"
        }
        _ => return None,
    };
    Some(Said::Unfit { reason: reason.to_owned() })
}
