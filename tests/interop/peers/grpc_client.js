// Calls `Echo` with grpc-js: one JSON order a line on standard input, one JSON outcome a line out.
'use strict';

const readline = require('node:readline');
const { grpc, Echo, UNBOUNDED } = require('./echo.js');

const clients = new Map();

// One channel for each target and authority, so that calls share a connection.
function client({ target, authority, gzip }) {
  const key = JSON.stringify([target, authority, gzip]);
  if (!clients.has(key)) {
    const options = { ...UNBOUNDED, 'grpc.use_local_subchannel_pool': 1 };
    if (authority) options['grpc.default_authority'] = authority;
    if (gzip) options['grpc.default_compression_algorithm'] = grpc.compressionAlgorithms.gzip;
    clients.set(key, new Echo(target, grpc.credentials.createInsecure(), options));
  }
  return clients.get(key);
}

function toMetadata(pairs) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of pairs) {
    metadata.add(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  }
  return metadata;
}

function fromMetadata(metadata) {
  return Object.keys(metadata?.getMap() ?? {}).flatMap((name) => metadata.get(name).map(
    (value) => [name, Buffer.isBuffer(value) ? value.toString('base64') : value]));
}

function jsonOf(answer) {
  return { ...answer, payload: answer.payload.toString('base64') };
}

function toAsk(ask) {
  const bytes = (text) => Buffer.from(text ?? '', 'base64');
  return { ...ask, payload: bytes(ask.payload), failDetails: bytes(ask.failDetails) };
}

function call(order) {
  return new Promise((resolve) => {
    const answers = [];
    const outcome = { answers, initial: [], trailing: [] };
    const options = { deadline: Date.now() + order.timeout * 1000 };
    const metadata = toMetadata(order.metadata);
    const asks = order.asks.map(toAsk);
    const stub = client(order);
    const single = (_, answer) => { if (answer) answers.push(jsonOf(answer)); };
    const method = stub[order.method].bind(stub);

    let it;
    if (order.method === 'Unary' || order.method === 'Witness') it = method(asks[0], metadata, options, single);
    else if (order.method === 'Upload') it = method(metadata, options, single);
    else if (order.method === 'Download') it = method(asks[0], metadata, options);
    else it = method(metadata, options);

    const say = () => (asks.length ? it.write(asks.shift()) : it.end());
    if (order.method === 'Upload') while (asks.length) say();
    if (order.method === 'Upload') it.end();
    if (order.method === 'Talk') say();
    if (order.method === 'Talk' || order.method === 'Download') {
      it.on('data', (answer) => {
        answers.push(jsonOf(answer));
        if (answers.length === order.cancelAfter) it.cancel();
        else if (order.method === 'Talk') say();
      });
      it.on('error', () => {});
    }
    it.on('metadata', (received) => { outcome.initial = fromMetadata(received); });
    it.on('status', ({ code, details, metadata: trailers }) => {
      // The answer of a single-answer call is handed over after its status.
      setImmediate(() => resolve({ ...outcome, code, message: details, trailing: fromMetadata(trailers) }));
    });
  });
}

async function many(order) {
  const lanes = {};
  let next = 0;
  async function caller() {
    while (next < order.count) {
      const metadata = order.rotation[next++ % order.rotation.length];
      const outcome = await call({ ...order, metadata });
      const key = JSON.stringify([metadata, outcome.code, outcome.answers[0]?.lane ?? outcome.message]);
      lanes[key] = (lanes[key] ?? 0) + 1;
    }
  }
  await Promise.all(Array.from({ length: order.atOnce }, caller));
  return lanes;
}

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const order = JSON.parse(line);
  const outcome = await (order.count ? many(order) : call(order));
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
});
