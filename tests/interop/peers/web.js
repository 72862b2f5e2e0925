// Serves the same pages with node:http and node:http2. Arguments: `http/1.1` or `h2`, and the lane
// it says it is.
'use strict';

const { createHash } = require('node:crypto');
const http = require('node:http');
const http2 = require('node:http2');
const { Readable } = require('node:stream');

const [protocol, lane] = process.argv.slice(2);
const PIECE = Buffer.alloc(64 * 1024, 'dyelane ');

// `length` bytes, the same for all who ask.
function* bytes(length) {
  for (let left = length; left > 0; left -= PIECE.length) yield PIECE.subarray(0, left);
}

async function digest(request) {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of request) {
    hash.update(piece);
    length += piece.length;
  }
  return { length, sha256: hash.digest('hex'), trailers: request.trailers };
}

const connections = new Map();

// Ends the connection a request came on, with no word of farewell.
function cut(request) {
  connections.get(request.socket.remotePort).destroy();
}

const pages = {
  // What arrived.
  async echo(request, response) {
    const { method, url, headers, httpVersion } = request;
    const body = await digest(request);
    const text = JSON.stringify({ lane, method, url, headers, httpVersion, ...body });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length });
    response.end(text);
  },
  // Of a length said beforehand, or part of it.
  bytes(request, response, length) {
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    if (range) {
      const [from, to] = [Number(range[1]), Number(range[2])];
      response.writeHead(206, {
        'content-length': to - from + 1, 'content-range': `bytes ${from}-${to}/${length}`,
      });
      response.end(Buffer.concat([...bytes(Number(length))]).subarray(from, to + 1));
      return;
    }
    response.writeHead(200, { 'content-length': length });
    if (request.method === 'HEAD') response.end();
    else Readable.from(bytes(Number(length))).pipe(response);
  },
  // Of a length only its end tells.
  pieces(request, response, length) {
    response.writeHead(200);
    Readable.from(bytes(Number(length))).pipe(response);
  },
  status(request, response, code) {
    response.writeHead(Number(code), { 'x-empty': 'yes', etag: '"one"' });
    response.end();
  },
  trailers(request, response) {
    response.writeHead(200, { trailer: 'x-sum, x-end' });
    response.write('body');
    response.addTrailers({ 'x-sum': '42', 'x-end': 'here' });
    response.end();
  },
  early(request, response) {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.writeHead(200, { 'content-length': 4 });
    response.end('done');
  },
  cookies(request, response) {
    response.writeHead(200, { 'set-cookie': ['a=1; Path=/', 'b=2, c'], 'x-cookie': request.headers.cookie ?? '' });
    response.end();
  },
  // Answers before it read what it was sent, and reads no more.
  refuse(request, response) {
    response.writeHead(413, { 'content-length': 9 });
    response.end('too large');
  },
  // Breaks off half way.
  broken(request, response) {
    response.writeHead(200, { 'content-length': 1_000_000 });
    response.write(PIECE, () => cut(request));
  },
  // Breaks off half way in a body only whose end would tell its length.
  'broken-pieces': (request, response) => {
    response.writeHead(200);
    response.write(PIECE, () => cut(request));
  },
  hang() {},
};

function serve(request, response) {
  const [, page, argument] = request.url.split(/[/?]/);
  response.setHeader('x-lane', lane);
  if (Object.hasOwn(pages, page)) {
    pages[page](request, response, argument);
  } else {
    response.writeHead(404);
    response.end();
  }
}

// Node refuses streams once those of a connection hold 10 MB, which a shared connection may well do.
const server = protocol === 'h2' ? http2.createServer({ maxSessionMemory: 1000 }, serve) : http.createServer(serve);
server.on('connection', (socket) => {
  const port = socket.remotePort;
  connections.set(port, socket);
  socket.on('close', () => connections.delete(port));
});
server.on('checkContinue', (request, response) => {
  if (!request.url.startsWith('/refuse')) response.writeContinue();
  serve(request, response);
});
server.listen(0, '127.0.0.1', () => console.log('listening', server.address().port));
