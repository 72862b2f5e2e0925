// Offers `Echo` with grpc-js. Argument: the lane it says it is.
'use strict';

const { EventEmitter, once } = require('node:events');
const { grpc, Echo, UNBOUNDED } = require('./echo.js');

const lane = process.argv[2];
const ended = new Set();
const endings = new EventEmitter().setMaxListeners(0);

function shown(value) {
  return Buffer.isBuffer(value) ? value.toString('base64') : value;
}

function answer(ask, call, count = 1) {
  const fields = Object.keys(call.metadata.getMap());
  const deadline = Number(call.getDeadline());
  return {
    lane,
    text: ask.text,
    payload: ask.answerBytes ? Buffer.alloc(ask.answerBytes) : ask.payload,
    count,
    seen: fields.flatMap((name) => call.metadata.get(name).map((value) => `${name}=${shown(value)}`)),
    millisecondsLeft: Number.isFinite(deadline) ? Math.max(1, deadline - Date.now()) : 0,
  };
}

function chosen(call, prefix) {
  const metadata = new grpc.Metadata();
  for (const name of Object.keys(call.metadata.getMap())) {
    if (name.startsWith(prefix)) {
      call.metadata.get(name).forEach((value) => metadata.add(name, value));
    }
  }
  return metadata;
}

function begin(call) {
  const echoed = chosen(call, 'x-echo-');
  if (Object.keys(echoed.getMap()).length) call.sendMetadata(echoed);
}

function watch(ask, call) {
  call.on('cancelled', () => {
    ended.add(ask.text);
    endings.emit(ask.text);
  });
}

function failure(ask, call) {
  const metadata = chosen(call, 'x-trail-');
  if (ask.failDetails.length) metadata.set('grpc-status-details-bin', ask.failDetails);
  return Object.assign(new Error(ask.failMessage), {
    code: ask.fail, details: ask.failMessage, metadata,
  });
}

// Ends a call that has one answer.
function conclude(ask, call, done, count) {
  begin(call);
  if (ask.hang) watch(ask, call);
  else if (ask.fail) done(failure(ask, call));
  else {
    done(null, answer(ask, call, count), chosen(call, 'x-trail-'),
      ask.gzip ? grpc.compressionAlgorithms.gzip : undefined);
  }
}

// Ends a call that has many.
function finish(ask, call) {
  if (ask.hang) watch(ask, call);
  else if (ask.fail) call.emit('error', failure(ask, call));
  else call.end(chosen(call, 'x-trail-'));
}

const implementation = {
  Unary: (call, done) => conclude(call.request, call, done),
  Upload: (call, done) => {
    let count = 0;
    let last;
    call.on('data', (ask) => { count += 1; last = ask; });
    call.on('end', () => conclude(last, call, done, count));
  },
  Download: async (call) => {
    const ask = call.request;
    begin(call);
    for (let at = 0; at < ask.answers; at += 1) {
      if (!call.write(answer(ask, call, at + 1))) await once(call, 'drain');
    }
    finish(ask, call);
  },
  Talk: (call) => {
    let count = 0;
    let last;
    call.on('data', (ask) => {
      count += 1;
      last = ask;
      if (count === 1) begin(call);
      if (ask.fail || ask.hang) finish(ask, call);
      else call.write(answer(ask, call, count));
    });
    call.on('end', () => { if (!last || !(last.fail || last.hang)) call.end(chosen(call, 'x-trail-')); });
  },
  Witness: async (call, done) => {
    const { text } = call.request;
    if (!ended.has(text)) await once(endings, text);
    done(null, { lane, text });
  },
};

const server = new grpc.Server(UNBOUNDED);
server.addService(Echo.service, implementation);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log('listening', port);
});
