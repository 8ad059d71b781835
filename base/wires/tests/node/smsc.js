// A small centre on npm's smpp: it takes messages, tells of each as a line of JSON, sends receipts, and answers questions.
// The text "throttle" is throttled; of a long message it puts the parts together itself.
const smpp = require('smpp');

const messages = new Map();
const joined = new Map();
let last = 0;
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');

const server = smpp.createServer((session) => {
  const receipt = (pdu, id) =>
    session.deliver_sm({
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2611221101 done date:2611221102 stat:DELIVRD err:000 text:`,
      receipted_message_id: id,
      message_state: smpp.MESSAGE_STATE.DELIVERED,
      user_message_reference: pdu.user_message_reference,
    }, (answer) => say({ receipt: id, answered: answer.command_status }));

  session.on('bind_transceiver', (pdu) => {
    const right = pdu.system_id === 'shop' && pdu.password === 'secret';
    say({ bind: pdu.system_id, version: pdu.interface_version });
    session.send(pdu.response(right ? { system_id: 'node' } : { command_status: smpp.ESME_RINVPASWD }));
  });
  session.on('submit_sm', (pdu) => {
    const { message, udh } = pdu.short_message;
    if (message === 'throttle') {
      return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
    }
    const id = 'n' + ++last;
    messages.set(id, smpp.MESSAGE_STATE.DELIVERED);
    session.send(pdu.response({ message_id: id }));
    let text = message;
    const header = udh && udh[0];
    if (header) {
      const [total, number] = header.slice(-2);
      const reference = header.slice(2, -2).toString('hex');
      const parts = joined.get(reference) || [];
      parts[number - 1] = message;
      joined.set(reference, parts);
      text = parts.filter((part) => part !== undefined).length === total ? parts.join('') : null;
    }
    say({ id, to: pdu.destination_addr, from: pdu.source_addr, coding: pdu.data_coding, validity: pdu.validity_period, text });
    if (pdu.registered_delivery) receipt(pdu, id);
  });
  session.on('query_sm', (pdu) => {
    const state = messages.get(pdu.message_id);
    session.send(pdu.response(state === undefined
      ? { command_status: smpp.ESME_RQUERYFAIL }
      : { message_id: pdu.message_id, message_state: state, error_code: 0 }));
  });
  session.on('enquire_link', (pdu) => { say({ enquired: true }); session.send(pdu.response()); });
  session.on('unbind', (pdu) => { say({ unbound: true }); session.send(pdu.response()); session.close(); });
  session.on('error', (error) => say({ error: String(error) }));
});
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
