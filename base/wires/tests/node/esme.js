// A client on npm's smpp: it sends to the centre at the port that is given, and tells as one line of JSON what it saw.
const smpp = require('smpp');

const seen = { receipts: [], ids: [] };
const session = smpp.connect({ url: `smpp://127.0.0.1:${process.argv[2]}` }, async () => {
  const ask = (command, options) => new Promise((done) => session[command](options, done));
  const bound = await ask('bind_transceiver', { system_id: 'shop', password: 'secret', interface_version: 0x34 });
  seen.bound = bound.command_status;
  const to = { destination_addr: '79161234567', dest_addr_ton: 1, dest_addr_npi: 1, registered_delivery: 1 };
  const submit = async (options) => {
    const answer = await ask('submit_sm', { ...to, ...options });
    if (answer.command_status === 0) seen.ids.push(answer.message_id);
    return answer.command_status;
  };
  seen.plain = await submit({ data_coding: 0, short_message: 'a parcel @ the door', user_message_reference: 12 });
  const header = (number) => Buffer.from([5, 0, 3, 77, 2, number]);
  for (const [number, message] of [[1, 'Посылка '], [2, 'у двери 😀']]) {
    seen.long = await submit({ data_coding: 8, esm_class: 0x40, short_message: { udh: header(number), message } });
  }
  seen.payload = await submit({ short_message: '', message_payload: 'p'.repeat(500) });
  seen.refused = await submit({ short_message: 'refuse' });
  const state = await ask('query_sm', { message_id: seen.ids[0] });
  seen.state = [state.command_status, state.message_state];
  seen.unknown = (await ask('query_sm', { message_id: '1' })).command_status;
  seen.enquired = (await ask('enquire_link', {})).command_status;
  seen.strange = (await ask('replace_sm', { message_id: '1' })).command;
  while (seen.receipts.length < seen.ids.length) await new Promise((done) => session.once('deliver_sm', done));
  seen.unbound = (await ask('unbind', {})).command_status;
  session.close();
  process.stdout.write(JSON.stringify(seen) + '\n');
});
let first = true;
session.on('deliver_sm', (pdu) => {
  // The first receipt is not stored the first time.
  const refused = first;
  first = false;
  session.send(pdu.response({ command_status: refused ? smpp.ESME_RX_T_APPN : 0 }));
  if (refused) return;
  const text = pdu.short_message.message;
  seen.receipts.push([pdu.receipted_message_id, pdu.message_state, pdu.esm_class, /stat:DELIVRD/.test(text)]);
});
session.on('error', (error) => { process.stderr.write(String(error) + '\n'); process.exit(1); });
